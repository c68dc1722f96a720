// Which events of a stream are those that servers of chat and completions send. Of these an estimate is the
// same whether they are read or passed over.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <jansson.h>
#include <string>
#include <string_view>

struct odd_events {
    uint64_t count = 0;
    uint64_t bytes = 0;
};

namespace plain {

inline bool is_one_of(const char* name, std::initializer_list<std::string_view> names)
{
    return std::find(names.begin(), names.end(), name) != names.end();
}

inline bool is_scalar(const json_t* value)
{
    return !json_is_object(value) && !json_is_array(value);
}

// A string of it would not be text.
inline bool is_logprobs(json_t* value)
{
    const char* name = nullptr;
    json_t* member = nullptr;
    size_t i = 0;
    bool good = true;
    json_object_foreach(value, name, member) good =
        good && is_one_of(name, {"content", "refusal", "token", "logprob", "bytes", "top_logprobs"})
        && (is_one_of(name, {"content", "refusal"}) ? !json_is_string(member) : true) && is_logprobs(member);
    json_array_foreach(value, i, member) good = good && is_logprobs(member);
    return good;
}

inline bool is_text(json_t* value, size_t& texts)
{
    texts += json_is_string(value) && json_string_length(value) != 0 ? 1 : 0;
    return json_is_string(value) || json_is_null(value);
}

// Of one call, as servers send them since a delta has the arguments of one only.
inline bool is_tool_calls(json_t* value, size_t& texts)
{
    const char* name = nullptr;
    json_t* member = nullptr;
    if (json_is_null(value))
        return true;
    json_t* const call = json_array_get(value, 0);
    json_t* const function = json_object_get(call, "function");
    bool good = json_array_size(value) == 1 && json_is_object(function);
    json_object_foreach(call, name, member) good = good
                                                   && is_one_of(name, {"index", "id", "type", "function"})
                                                   && (member == function || is_scalar(member));
    json_object_foreach(function, name, member) good =
        good && (std::string_view(name) == "arguments" ? is_text(member, texts) : is_scalar(member))
        && is_one_of(name, {"name", "arguments"});
    return good;
}

inline bool is_delta(json_t* value, size_t& texts)
{
    const char* name = nullptr;
    json_t* member = nullptr;
    bool good = json_is_object(value);
    json_object_foreach(value, name, member) good =
        good
        && (std::string_view(name) == "role" ? is_scalar(member)
            : std::string_view(name) == "tool_calls"
                ? is_tool_calls(member, texts)
                : is_one_of(name, {"content", "reasoning", "reasoning_content", "refusal"})
                      && is_text(member, texts));
    return good;
}

inline bool is_choice(json_t* value, size_t& texts)
{
    const char* name = nullptr;
    json_t* member = nullptr;
    bool good = json_is_object(value);
    json_object_foreach(value, name, member) good =
        good
        && (std::string_view(name) == "delta"      ? is_delta(member, texts)
            : std::string_view(name) == "text"     ? is_text(member, texts)
            : std::string_view(name) == "logprobs" ? is_logprobs(member)
            : std::string_view(name) == "usage"
                ? json_is_null(member)
                : is_scalar(member)
                      && is_one_of(name, {"index", "finish_reason", "stop_reason", "matched_stop"}));
    return good;
}

// What choices have at their top is theirs; of usage, timings and errors each is read.
inline bool is_chunk(json_t* value)
{
    const char* name = nullptr;
    json_t* member = nullptr;
    size_t texts = 0;
    bool good = json_is_object(value);
    json_object_foreach(value, name, member) good =
        good
        && (std::string_view(name) == "choices"
                ? json_array_size(member) <= 1
                      && (json_array_size(member) == 0 || is_choice(json_array_get(member, 0), texts))
                : is_one_of(name, {"usage", "timings", "error"})
                      || (is_scalar(member)
                          && is_one_of(name, {"id", "object", "created", "model", "system_fingerprint",
                                              "service_tier", "provider", "obfuscation"})));
    return good && texts <= 1;
}

// Names may be spelled with escapes, which no server does.
inline bool is_plain(const std::string& data)
{
    if (data == "[DONE]")
        return true;
    if (data.find("\\u00") != data.npos || data.find('\n') != data.npos)
        return false;
    json_t* const value = json_loadb(data.data(), data.size(), JSON_REJECT_DUPLICATES, nullptr);
    const bool good = is_chunk(value);
    json_decref(value);
    return good;
}

} // namespace plain

// Whether a line that names a usage is an event which is no JSON. It may be counted, and cut: its front is
// not looked at where the usage behind it can be read.
inline bool has_damaged_usage(std::string_view text)
{
    constexpr std::string_view field = "data: ";
    while (!text.empty()) {
        const size_t end = std::min(text.find_first_of("\r\n"), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.starts_with("data: {") && line.find("\"usage\"") != line.npos) {
            json_t* const value =
                json_loadb(line.data() + field.size(), line.size() - field.size(), 0, nullptr);
            if (value == nullptr)
                return true;
            json_decref(value);
        }
    }
    return false;
}

// Whether a JSON reply that names a usage is damaged, which is borne likewise.
inline bool is_damaged_reply(std::string_view text)
{
    json_t* const value = json_loadb(text.data(), text.size(), JSON_DISABLE_EOF_CHECK, nullptr);
    const bool good = value != nullptr;
    json_decref(value);
    return !good && text.find("\"usage\"") != text.npos;
}

// The events of a stream that are not plain: with what is no JSON or of an unknown kind, with fields that do
// not exist, with several lines of data, or with more than one choice or text.
inline odd_events find_odd_events(std::string_view text)
{
    odd_events odd;
    std::string data;
    size_t lines = 0;
    bool is_odd = false;
    size_t begin = 0;
    const auto end_event = [&](size_t end) {
        if (is_odd || lines > 1 || (lines == 1 && !plain::is_plain(data))) {
            ++odd.count;
            odd.bytes += end - begin;
        }
        data.clear();
        lines = 0;
        is_odd = false;
        begin = end;
    };
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find_first_of("\r\n", at), text.size());
        std::string_view line = text.substr(at, end - at);
        at = end + (text.substr(end).starts_with("\r\n") ? 2 : 1);
        if (line.empty()) {
            end_event(std::min(at, text.size()));
        } else if (line.starts_with("data:")) {
            line.remove_prefix(line.starts_with("data: ") ? 6 : 5);
            data = line;
            ++lines;
        } else {
            is_odd =
                is_odd || !(line.starts_with(':') || line.starts_with("event:") || line.starts_with("id:"));
        }
    }
    end_event(text.size());
    return odd;
}
