#include "key_change.h"

#include "exit_code.h"
#include "keys/key_file.h"

#include <algorithm>
#include <cerrno>
#include <unistd.h>

namespace llm::ctl {

namespace {

int tell(const std::string& path, const file_error& error, output& out)
{
    if (error.line == 0) {
        return out.fail(path + ": " + error.text);
    }
    return out.wrong(path + ":" + std::to_string(error.line) + ":" + std::to_string(error.column) + ": "
                     + error.text);
}

int tell(const std::string& path, const edit_error& error, bool makes, output& out)
{
    if (error.text.empty()) {
        return error.code;
    }
    const bool is_missing = !makes && access(path.c_str(), F_OK) != 0 && errno == ENOENT;
    const std::string text = error.text + (is_missing ? ": llmctl key add NAME makes the file" : "");
    return error.code == exit_wrong ? out.wrong(text) : out.fail(text);
}

} // namespace

int change_key_file(const std::string& path, const new_file& make, const key_change& change, output& out)
{
    const auto error = edit_file(path, make, [&](std::string& text, bool is_new, int& code) {
        if (is_new) {
            text = key_text::empty_file();
        }
        key_file file;
        if (const auto wrong = parse_key_file(text, file)) {
            code = tell(path, *wrong, out);
            return false;
        }
        key_text keys(text);
        code = change(keys, file);
        if (code != exit_well) {
            return false;
        }
        if (const auto wrong = parse_key_file(keys.text(), file)) {
            code = out.wrong(wrong->text);
            return false;
        }
        text = keys.text();
        return true;
    });
    return error ? tell(path, *error, make.make, out) : exit_well;
}

int read_key_file(const std::string& path, key_file& file, std::string& text, output& out)
{
    if (const auto error = read_whole(path, text)) {
        return tell(path, *error, false, out);
    }
    const auto wrong = parse_key_file(text, file);
    return wrong ? tell(path, *wrong, out) : exit_well;
}

bool find_keys(const key_text& keys, std::span<const std::string_view> names, std::vector<size_t>& places,
               output& out)
{
    places.clear();
    for (const std::string_view name : names) {
        const auto place = keys.find(name);
        if (!place) {
            out.wrong("there is no key " + std::string(name));
            return false;
        }
        if (std::find(places.begin(), places.end(), *place) == places.end()) {
            places.push_back(*place);
        }
    }
    return true;
}

} // namespace llm::ctl
