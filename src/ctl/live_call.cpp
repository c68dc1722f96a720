#include "live_call.h"

#include "core/base/chars.h"
#include "http_client.h"

namespace llm::ctl {

namespace {

std::string_view member_of_error(const json_t* answer, const char* name)
{
    const char* const text = json_string_value(json_object_get(json_object_get(answer, "error"), name));
    return text ? text : "";
}

// What llm_admin says is wrong, or nothing if it is another who has answered: llm_error says that there is no
// such path in the same shape, but without this code.
std::string message_of(const json_t* answer, long status)
{
    if (status == 404 && !member_of_error(answer, "code").starts_with("no_such_")) {
        return "";
    }
    return std::string(member_of_error(answer, "message"));
}

std::string explain(const live_place& place, const http_answer& http, const std::string& message)
{
    const std::string status = std::to_string(http.status);
    if (message.empty() && (http.status == 401 || http.status == 403)) {
        return place.shown() + " does not let you in (status " + status
               + "): its rules may know your address or password";
    }
    if (http.status == 401 || http.status == 403) {
        return place.shown() + ": " + message
               + " It takes a key with \"admin\": true, in LLM_ADMIN_KEY or by --key-file.";
    }
    if (!message.empty()) {
        return message;
    }
    return "what answers at " + place.shown() + " is no llm_admin (status " + status
           + "): give its address by --url or in LLM_ADMIN; nginx has one only where its configuration says "
             "so"
             " (docs/admin.md)";
}

} // namespace

live_answer call_live(const live_place& place, const char* method, const std::string& path)
{
    live_answer answer;
    http_answer http =
        send_http({method, place.url + path, place.unix_socket, place.key.empty() ? nullptr : &place.key});
    if (http.status == 0) {
        answer.error = "nothing answers at " + place.shown() + ": " + http.error;
        return answer;
    }
    json_tree json(json_loadb(http.body.data(), http.body.size(), 0, nullptr));
    const std::string message = message_of(json.get(), http.status);
    if (http.status / 100 != 2 || !json_is_object(json.get())) {
        answer.error = explain(place, http, message);
        // Another server may say 404 too, and in this shape.
        const std::string_view code = member_of_error(json.get(), "code");
        answer.wrong = http.status == 404 && code.starts_with("no_such_") && code != "no_such_path";
        return answer;
    }
    answer.json = std::move(json);
    return answer;
}

int tell_error(output& out, const live_answer& answer)
{
    return answer.wrong ? out.wrong(answer.error) : out.fail(answer.error);
}

std::string escaped_name(std::string_view name)
{
    std::string text;
    for (const char c : name) {
        const bool is_letter = ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
        if (is_letter || is_digit(c) || c == '-' || c == '_' || c == '~') {
            text += c;
            continue;
        }
        char digits[2];
        put_hex(digits, static_cast<uint8_t>(c));
        text += '%';
        text.append(digits, sizeof digits);
    }
    return text;
}

} // namespace llm::ctl
