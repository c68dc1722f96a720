#include "text_pattern.h"

#include "core/base/chars.h"

namespace llm {

namespace {

constexpr std::string_view lasting_names[] = {"id", "model", "system_fingerprint"};
constexpr std::string_view other_names[] = {
    "content",   "text",        "reasoning_content", "reasoning",
    "arguments", "obfuscation", "finish_reason",     "stop_reason",
};

constexpr std::string_view api_words[] = {
    "object", "role", "type", "status", "service_tier", "severity", "provider", "weight_version",
};
// Those of OpenAI's, Anthropic's and Azure's replies, which most servers follow.
constexpr std::string_view servers_own[] = {
    "choices",
    "delta",
    "message",
    "content",
    "output",
    "tool_calls",
    "function",
    "usage",
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
    "cost_details",
    "cache_creation",
    "server_tool_use",
    "content_filter_results",
    "hate",
    "self_harm",
    "sexual",
    "violence",
};

// SGLang's. Elsewhere it is the user's who asked.
bool is_servers_metadata(std::string_view value)
{
    constexpr std::string_view front = "{\"weight_version\":\"";
    const size_t text_end = value.find('"', front.size());
    return value.starts_with(front) && text_end != std::string_view::npos
           && value.substr(text_end + 1).starts_with('}');
}

} // namespace

bool may_differ(std::string_view name_of_string)
{
    return lasts(name_of_string) || is_one_of(name_of_string, other_names);
}

bool lasts(std::string_view name_of_string)
{
    return is_one_of(name_of_string, lasting_names);
}

bool is_api_word(std::string_view name_of_string)
{
    return is_one_of(name_of_string, api_words);
}

bool is_servers_own(std::string_view name, std::string_view value)
{
    const size_t first = value.find_first_not_of(" \t\r\n", 1);
    const bool is_empty = first != std::string_view::npos && (value[first] == '}' || value[first] == ']');
    return is_empty || is_one_of(name, servers_own) || (name == "metadata" && is_servers_metadata(value));
}

const char* string_end(const char* p, const char* end)
{
    for (;;) {
        p = find_string_stop(p, end);
        if (p == end || *p == '"') {
            return p == end ? nullptr : p;
        }
        if (*p != '\\' || end - p < 2) {
            return nullptr;
        }
        if (p[1] == 'u') {
            if (end - p < 6 || !std::all_of(p + 2, p + 6, is_hex)) {
                return nullptr;
            }
            p += 6;
        } else if (std::string_view("\"\\/bfnrt").find(p[1]) != std::string_view::npos) {
            p += 2;
        } else {
            return nullptr;
        }
    }
}

size_t plain_number_size(const char* p, const char* end, usage_field field)
{
    size_t n = 0;
    while (p + n != end && is_digit(p[n])) {
        ++n;
    }
    const bool plain = n != 0 && n <= text_pattern::max_digits(field) && (n == 1 || *p != '0') && p + n != end
                       && (p[n] == ',' || p[n] == '}' || p[n] == ' ');
    return plain ? n : 0;
}

} // namespace llm
