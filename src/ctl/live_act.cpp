#include "live_act.h"

#include "exit_code.h"
#include "live_call.h"

#include "core/base/chars.h"

#include <algorithm>
#include <cstdlib>

namespace llm::ctl {

namespace {

void put_json(output& out, const json_t* json)
{
    char* const text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    out.line(text ? text : "null");
    free(text);
}

// For each name by itself: one that is wrong does not keep the others from being done. Returns the worst exit
// code.
template <class F>
int each_word(const arguments& given, output& out, const char* method, F&& path_of, const char* did)
{
    live_place place;
    if (const auto error = find_live_place(given, place)) {
        return out.fail(*error);
    }
    int code = exit_well;
    for (const std::string_view word : given.words()) {
        const live_answer answer = call_live(place, method, path_of(word));
        if (!answer.json) {
            live_answer named;
            named.wrong = answer.wrong;
            named.error = printable(word) + ": " + answer.error;
            code = std::max(code, tell_error(out, named));
            if (!answer.wrong) {
                break; // it would be the same with the others
            }
        } else if (out.json()) {
            put_json(out, answer.json.get());
        } else {
            const auto running = json_integer_value(json_object_get(answer.json.get(), "in_flight"));
            out.line(printable(word) + ' ' + did
                     + (running > 0 ? " (" + std::to_string(running) + " in flight)" : ""));
        }
    }
    return code;
}

std::string key_path(std::string_view name, const char* act)
{
    return "keys/" + escaped_name(name) + '/' + act;
}

} // namespace

int run_block(const arguments& given, output& out)
{
    return each_word(
        given, out, "POST", [](std::string_view name) { return key_path(name, "block"); }, "is blocked");
}

int run_unblock(const arguments& given, output& out)
{
    return each_word(
        given, out, "POST", [](std::string_view name) { return key_path(name, "unblock"); },
        "is not blocked");
}

int run_reset(const arguments& given, output& out)
{
    const bool quota = given.has("--quota"), rates = given.has("--rates");
    const char* const act = quota == rates ? "reset" : quota ? "reset?what=quota" : "reset?what=rates";
    return each_word(
        given, out, "POST", [act](std::string_view name) { return key_path(name, act); }, "is reset");
}

int run_stop(const arguments& given, output& out)
{
    for (const std::string_view word : given.words()) {
        if (!std::all_of(word.begin(), word.end(), is_digit) || word.size() > 20) {
            return out.fail(printable(word) + " is no serial of a request: see llmctl top");
        }
    }
    return each_word(
        given, out, "DELETE", [](std::string_view serial) { return "requests/" + std::string(serial); },
        "is asked to end");
}

} // namespace llm::ctl
