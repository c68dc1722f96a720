#include "first_request.h"

#include "json_text_writer.h"

#include <algorithm>
#include <regex.h>

namespace llm::ctl {

namespace {

constexpr const char* chat_path = "/v1/chat/completions";

// nginx's expressions are PCRE's. What is not known here fits nothing.
bool fits_pattern(std::string pattern, bool any_case)
{
    for (size_t at; (at = pattern.find("\\z")) != std::string::npos;) {
        pattern.replace(at, 2, "$");
    }
    for (size_t at; (at = pattern.find("(?:")) != std::string::npos;) {
        pattern.erase(at + 1, 2);
    }
    regex_t compiled;
    if (regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB | (any_case ? REG_ICASE : 0)) != 0) {
        return false;
    }
    const bool fits = regexec(&compiled, chat_path, 0, nullptr, 0) == 0;
    regfree(&compiled);
    return fits;
}

bool is_for_chat(const directive& location)
{
    const std::vector<std::string>& words = location.words;
    const std::string_view path = chat_path;
    if (words.size() < 2) {
        return false;
    }
    if (words.size() == 2 || words[1] == "^~") {
        return path.starts_with(words.back());
    }
    return words[1] == "=" ? path == words[2] : fits_pattern(words[2], words[1] == "~*");
}

bool passes_on(const directive& in)
{
    return std::any_of(in.block.begin(), in.block.end(), [](const directive& each) {
        return each.words[0] == "proxy_pass" || each.words[0] == "grpc_pass" || passes_on(each);
    });
}

// A name as a word of the shell within quotes.
bool is_simple(const std::string& name)
{
    return !name.empty() && name.find_first_of("*'\\$") == std::string::npos;
}

} // namespace

std::string chat_address(const nginx_conf* conf)
{
    std::string address;
    if (conf) {
        conf->each("location", [&](const directive& location, std::span<const directive* const> in) {
            const auto server = std::find_if(
                in.begin(), in.end(), [](const directive* each) { return each->words[0] == "server"; });
            if (address.empty() && server != in.end() && is_for_chat(location) && passes_on(location)) {
                address = address_of(**server);
            }
        });
    }
    return (address.empty() ? "http://127.0.0.1:8080" : address) + chat_path;
}

std::string known_model(const std::vector<std::string>& allowed, const nginx_conf* conf)
{
    for (const std::string& each : allowed) {
        if (is_simple(each)) {
            return each;
        }
    }
    std::string model;
    if (conf && allowed.empty()) {
        conf->each("llm_model", [&](const directive& found, auto) {
            if (model.empty() && found.words.size() > 1 && is_simple(found.words[1])) {
                model = found.words[1];
            }
        });
    }
    return model;
}

std::string curl_line(const std::string& address, const std::string& model)
{
    return "curl " + address
           + " -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' -d '{\"model\": "
           + json_quoted(model.empty() ? "MODEL" : model)
           + ", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'";
}

} // namespace llm::ctl
