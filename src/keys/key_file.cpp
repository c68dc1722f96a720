#include "key_file.h"

#include "file_look.h"
#include "key_rules.h"
#include "secret_text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <memory>
#include <new>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llm {

namespace {

// What jansson found, in its words, but without the piece of the text that it quotes: that may be a secret.
std::string syntax_text(const json_error_t& error)
{
    switch (json_error_code(&error)) {
    case json_error_premature_end_of_input:
        return "unexpected end of file";
    case json_error_duplicate_key:
        return "this field is given twice";
    case json_error_invalid_utf8:
        return "invalid UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a NUL character is not allowed";
    case json_error_stack_overflow:
        return "nested too deeply";
    case json_error_numeric_overflow:
        return "this number is too large";
    case json_error_out_of_memory:
        return "out of memory";
    default:
        break;
    }
    std::string_view text = error.text;
    text = text.substr(0, text.find(" near '"));
    if (text.starts_with("invalid Unicode")) {
        text = "invalid Unicode escape";
    }
    return "not JSON: " + std::string(text);
}

// Wipes the plain key of an element of "keys" before its memory goes back to the heap.
struct key_free {
    void operator()(json_t* key) const
    {
        const std::string_view secret = string_of(json_object_get(key, "key"));
        if (!secret.empty()) {
            OPENSSL_cleanse(const_cast<char*>(secret.data()), secret.size());
        }
        json_decref(key);
    }
};
using key_ptr = std::unique_ptr<json_t, key_free>;

// Walks the top of the file itself and gives jansson one value at a time, so that the tree of a file with a
// million keys (about a gigabyte) never exists.
class file_parser {
public:
    explicit file_parser(std::string_view text) : text(text) {}

    bool run();
    key_file take()
    {
        key_file file = rules.take();
        file.notes = notes;
        return file;
    }

    file_error error;

private:
    bool fail(size_t offset, std::string_view what);
    bool fail_rule(size_t from);
    json_t* load(size_t& at);
    bool expect(size_t& at, char c, const char* what);
    bool read_member(size_t& at);
    bool read_keys(size_t& at, bool check_only);
    void note_secret(std::string_view secret, size_t at);
    void note_lack(const json_t* key, size_t at);

    static constexpr size_t nowhere = std::string_view::npos;
    std::string_view text;
    key_rules rules;
    key_file_notes notes;
    size_t plans_at = nowhere;
    size_t keys_at = nowhere;
    bool keys_done = false;
};

bool file_parser::fail(size_t offset, std::string_view what)
{
    const text_position place = place_of(text, offset);
    error = {place.line, place.column, std::string(what)};
    bound(error.text);
    return false;
}

// The error of `rules` about the value at `from`.
bool file_parser::fail_rule(size_t from)
{
    const std::optional<size_t> offset = json_locate(text, from, rules.check.path, rules.check.part);
    return fail(offset.value_or(from), rules.check.error);
}

// The value at `at`, which moves behind it. Null after an error.
json_t* file_parser::load(size_t& at)
{
    json_error_t why;
    json_t* value = json_loadb(text.data() + at, text.size() - at,
                               JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &why);
    const size_t read = std::min(static_cast<size_t>(std::max(why.position, 0)), text.size() - at);
    if (!value) {
        // jansson has read the byte it complains about, unless there is none.
        const bool at_end = json_error_code(&why) == json_error_premature_end_of_input;
        fail(at_end ? text.size() : at + read - (read > 0), syntax_text(why));
        return nullptr;
    }
    at += read;
    return value;
}

bool file_parser::expect(size_t& at, char c, const char* what)
{
    at = json_skip_space(text, at);
    if (at == text.size()) {
        return fail(at, "unexpected end of file");
    }
    if (text[at] != c) {
        return fail(at, what);
    }
    at++;
    return true;
}

bool file_parser::run()
{
    if (text.starts_with("\xef\xbb\xbf")) {
        return fail(0, "the file starts with a byte order mark, expected UTF-8 without one");
    }
    size_t at = 0;
    if (!expect(at, '{', "expected an object with \"keys\"")) {
        return false;
    }
    const size_t start = at - 1;
    at = json_skip_space(text, at);
    if (at < text.size() && text[at] == '}') {
        at++;
    } else {
        while (true) {
            if (!read_member(at)) {
                return false;
            }
            at = json_skip_space(text, at);
            if (at < text.size() && text[at] == ',') {
                at++;
                continue;
            }
            if (!expect(at, '}', "expected \",\" or \"}\"")) {
                return false;
            }
            break;
        }
    }
    at = json_skip_space(text, at);
    if (at < text.size()) {
        return fail(at, "expected the end of the file after the object");
    }
    if (keys_at == nowhere) {
        return fail(start, "\"keys\" is missing, expected an array of keys");
    }
    return keys_done || read_keys(keys_at, false);
}

bool file_parser::read_member(size_t& at)
{
    static constexpr std::string_view allowed[] = {"plans", "keys"};
    at = json_skip_space(text, at);
    const size_t name_at = at;
    if (at == text.size() || text[at] != '"') {
        return fail(at, at == text.size() ? "unexpected end of file" : "expected the name of a field");
    }
    const json_ptr name(load(at));
    if (!name) {
        return false;
    }
    if (string_of(name.get()) != allowed[0] && string_of(name.get()) != allowed[1]) {
        rules.check.owner = {};
        rules.check.unknown_field(nullptr, string_of(name.get()), allowed);
        return fail(name_at, rules.check.error);
    }
    const bool is_plans = string_of(name.get()) == allowed[0];
    size_t& seen = is_plans ? plans_at : keys_at;
    if (seen != nowhere) {
        return fail(name_at, "this field is given twice");
    }
    if (is_plans && keys_done) {
        return fail(name_at, "expected \"plans\" before \"keys\"");
    }
    if (!expect(at, ':', "expected \":\"")) {
        return false;
    }
    at = json_skip_space(text, at);
    seen = at;
    if (!is_plans) {
        // Keys are read when the plans are known: if those come later, at first only the syntax is checked.
        static constexpr json_step plans_step[] = {{allowed[0]}};
        keys_done = plans_at != nowhere || !json_locate(text, 0, plans_step);
        return read_keys(at, !keys_done);
    }
    const json_ptr plans(load(at));
    return plans && (rules.add_plans(plans.get()) || fail_rule(seen));
}

// Reads the array at `at`, which moves behind it. With `check_only`, only its syntax.
bool file_parser::read_keys(size_t& at, bool check_only)
{
    if (!expect(at, '[', "\"keys\": expected an array")) {
        return false;
    }
    at = json_skip_space(text, at);
    if (at < text.size() && text[at] == ']') {
        at++;
        return true;
    }
    for (size_t index = 0;; index++) {
        at = json_skip_space(text, at);
        const size_t start = at;
        const key_ptr key(load(at));
        if (!key) {
            return false;
        }
        if (!check_only && !rules.add_key(key.get(), index)) {
            return fail_rule(start);
        }
        if (!check_only) {
            note_secret(string_of(json_object_get(key.get(), "key")), start);
            note_lack(key.get(), start);
        }
        at = json_skip_space(text, at);
        if (at < text.size() && text[at] == ',') {
            at++;
            continue;
        }
        return expect(at, ']', "expected \",\" or \"]\"");
    }
}

void file_parser::note_lack(const json_t* key, size_t at)
{
    if (!json_object_get(key, "key") && !json_object_get(key, "sha256") && notes.without_secret++ == 0) {
        const text_position place = place_of(text, at);
        notes.line_without = place.line;
        notes.column_without = place.column;
    }
}

void file_parser::note_secret(std::string_view secret, size_t at)
{
    if (secret.empty()) {
        return;
    }
    notes.plain_keys++;
    if (secret.size() < good_secret && notes.short_keys++ == 0) {
        const text_position place = place_of(text, at);
        notes.line = place.line;
        notes.column = place.column;
    }
}

struct descriptor {
    ~descriptor()
    {
        if (fd >= 0) {
            close(fd);
        }
    }
    int fd;
};

struct wiped_buffer {
    explicit wiped_buffer(size_t size) : data(new (std::nothrow) char[size]), size(size) {}
    ~wiped_buffer()
    {
        if (data) {
            OPENSSL_cleanse(data.get(), size);
        }
    }
    std::unique_ptr<char[]> data;
    size_t size;
};

file_error system_error(const char* what, int code)
{
    return {0, 0, std::string(what) + ": " + strerror(code)};
}

} // namespace

std::optional<file_error> parse_key_file(std::string_view text, key_file& out)
{
    if (text.size() > max_key_file) {
        return file_error{0, 0, "larger than 1 GiB"};
    }
    file_parser parser(text);
    if (!parser.run()) {
        return std::move(parser.error);
    }
    key_file result = parser.take();
    result.path = std::move(out.path);
    out = std::move(result);
    return std::nullopt;
}

std::optional<file_error> load_key_file(const char* path, key_file& out)
{
    // O_NONBLOCK: opening a FIFO must not wait for its writer.
    const descriptor file{open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
    struct stat info;
    if (file.fd < 0) {
        return system_error("cannot open", errno);
    }
    if (fstat(file.fd, &info) != 0) {
        return system_error("cannot stat", errno);
    }
    if (!S_ISREG(info.st_mode)) {
        return file_error{0, 0, "not a regular file"};
    }
    const file_stamp stamp = stamp_of(info);
    if (static_cast<uint64_t>(info.st_size) > max_key_file) {
        return file_error{0, 0, "larger than 1 GiB"};
    }
    // One byte more than there should be, to see whether the file grows meanwhile.
    const wiped_buffer buffer(static_cast<size_t>(info.st_size) + 1);
    if (!buffer.data) {
        return system_error("cannot read", ENOMEM);
    }
    size_t size = 0;
    while (size < buffer.size) {
        const ssize_t count = read(file.fd, buffer.data.get() + size, buffer.size - size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return system_error("cannot read", errno);
        }
        if (count == 0) {
            break;
        }
        size += static_cast<size_t>(count);
    }
    if (fstat(file.fd, &info) != 0 || size != buffer.size - 1 || stamp_of(info) != stamp) {
        return file_error{0, 0, "changed while it was read"};
    }
    std::optional<file_error> error = parse_key_file({buffer.data.get(), size}, out);
    if (!error) {
        out.path = path;
        out.stamp = stamp;
        out.notes.others_may_read = (info.st_mode & S_IROTH) != 0;
        timespec now{};
        clock_gettime(CLOCK_REALTIME, &now);
        out.read_ms = int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
    }
    return error;
}

bool name_digest(std::string_view name, digest& out)
{
    // Neither a header nor "key" in a file can have blanks and ends of lines. No key has an empty name.
    static constexpr std::string_view before = "the key with the name\n";
    char text[before.size() + max_name];
    before.copy(text, before.size());
    const size_t size = name.size() <= max_name ? name.copy(text + before.size(), max_name) : 0;
    return sha256({text, before.size() + size}, out);
}

std::optional<file_error> finish_keys(key_file& file, bool by_name)
{
    if (!by_name && file.notes.without_secret != 0) {
        return file_error{
            file.notes.line_without, file.notes.column_without,
            "this key has neither \"sha256\" nor \"key\", and no \"llm_api_keys\" of this file has "
            "\"identity=\", which could find it by its name"};
    }
    for (key_record& key : file.keys) {
        if (by_name && !name_digest(key.name, key.digests.emplace_back())) {
            return file_error{0, 0, "OpenSSL fails to compute SHA-256"};
        }
    }
    return std::nullopt;
}

std::vector<file_error> warnings_of(const key_file& file)
{
    const auto keys = [](uint32_t n) { return std::to_string(n) + (n == 1 ? " plain key" : " plain keys"); };
    const key_file_notes& notes = file.notes;
    std::vector<file_error> all;
    if (notes.others_may_read && notes.plain_keys != 0) {
        all.push_back({0, 0,
                       "every user of this machine may read it, and it has " + keys(notes.plain_keys)
                           + ": give it the mode 640, or put \"sha256\" in place of \"key\""});
    }
    if (notes.short_keys != 0) {
        all.push_back({notes.line, notes.column,
                       keys(notes.short_keys) + " of fewer than " + std::to_string(good_secret)
                           + " characters, which can be guessed"});
    }
    return all;
}

} // namespace llm
