// Where a reply has what usage_reader looks for. Internal to it.
#pragma once

#include "json_scan.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace llm {

namespace usage_path {
enum : uint8_t {
    root,
    usage,
    error,
    choices,
    prompt_tokens,
    completion_tokens,
    total_tokens,
    input_tokens,
    output_tokens,
    reasoning_tokens,
    prompt_details,
    input_details,
    completion_details,
    output_details,
    prompt_cached,
    input_cached,
    completion_reasoning,
    output_reasoning,
    error_message,
    choice,
    choice_index,
    choice_text,
    choice_delta,
    choice_usage,
    delta_content,
    delta_reasoning,
    delta_reasoning_content,
    delta_tool_calls,
    tool_call,
    tool_function,
    tool_arguments,
    choice_prompt_tokens,
    choice_completion_tokens,
    choice_total_tokens,
    choice_input_tokens,
    choice_output_tokens,
    choice_reasoning_tokens,
    choice_prompt_details,
    choice_input_details,
    choice_completion_details,
    choice_output_details,
    choice_prompt_cached,
    choice_input_cached,
    choice_completion_reasoning,
    choice_output_reasoning,
    count,
};
} // namespace usage_path

// Of an event of a stream.
inline constexpr std::array<json_path, usage_path::count> event_path_list = {{
    {""},
    {"usage", usage_path::root},
    {"error", usage_path::root, json_text::bounded},
    {"choices", usage_path::root},
    {"prompt_tokens", usage_path::usage, json_text::bounded},
    {"completion_tokens", usage_path::usage, json_text::bounded},
    {"total_tokens", usage_path::usage, json_text::bounded},
    {"input_tokens", usage_path::usage, json_text::bounded},
    {"output_tokens", usage_path::usage, json_text::bounded},
    {"reasoning_tokens", usage_path::usage, json_text::bounded},
    {"prompt_tokens_details", usage_path::usage},
    {"input_tokens_details", usage_path::usage},
    {"completion_tokens_details", usage_path::usage},
    {"output_tokens_details", usage_path::usage},
    {"cached_tokens", usage_path::prompt_details, json_text::bounded},
    {"cached_tokens", usage_path::input_details, json_text::bounded},
    {"reasoning_tokens", usage_path::completion_details, json_text::bounded},
    {"reasoning_tokens", usage_path::output_details, json_text::bounded},
    {"message", usage_path::error}, // with a path into it, the scanner counts the error's members
    {json_elements, usage_path::choices},
    {"index", usage_path::choice, json_text::bounded},
    {"text", usage_path::choice},
    {"delta", usage_path::choice},
    {"usage", usage_path::choice},
    {"content", usage_path::choice_delta},
    {"reasoning", usage_path::choice_delta},
    {"reasoning_content", usage_path::choice_delta},
    {"tool_calls", usage_path::choice_delta},
    {json_elements, usage_path::delta_tool_calls},
    {"function", usage_path::tool_call},
    {"arguments", usage_path::tool_function},
    {"prompt_tokens", usage_path::choice_usage, json_text::bounded},
    {"completion_tokens", usage_path::choice_usage, json_text::bounded},
    {"total_tokens", usage_path::choice_usage, json_text::bounded},
    {"input_tokens", usage_path::choice_usage, json_text::bounded},
    {"output_tokens", usage_path::choice_usage, json_text::bounded},
    {"reasoning_tokens", usage_path::choice_usage, json_text::bounded},
    {"prompt_tokens_details", usage_path::choice_usage},
    {"input_tokens_details", usage_path::choice_usage},
    {"completion_tokens_details", usage_path::choice_usage},
    {"output_tokens_details", usage_path::choice_usage},
    {"cached_tokens", usage_path::choice_prompt_details, json_text::bounded},
    {"cached_tokens", usage_path::choice_input_details, json_text::bounded},
    {"reasoning_tokens", usage_path::choice_completion_details, json_text::bounded},
    {"reasoning_tokens", usage_path::choice_output_details, json_text::bounded},
}};

// Of a JSON reply: the same without what is in its choices, which are skipped.
consteval auto reply_path_list()
{
    std::array<json_path, usage_path::error_message + 1> list;
    for (size_t i = 0; i < list.size(); ++i) {
        list[i] = event_path_list[i];
    }
    list[usage_path::choices].name = {};
    return list;
}

inline constexpr auto event_paths = json_paths(event_path_list);
inline constexpr auto reply_paths = json_paths(reply_path_list());

namespace usage_field {
enum : uint8_t { prompt, completion, total, input, output, cached, reasoning, none };
} // namespace usage_field

constexpr uint8_t usage_field_of(uint8_t at)
{
    switch (at) {
    case usage_path::prompt_tokens:
    case usage_path::choice_prompt_tokens:
        return usage_field::prompt;
    case usage_path::completion_tokens:
    case usage_path::choice_completion_tokens:
        return usage_field::completion;
    case usage_path::total_tokens:
    case usage_path::choice_total_tokens:
        return usage_field::total;
    case usage_path::input_tokens:
    case usage_path::choice_input_tokens:
        return usage_field::input;
    case usage_path::output_tokens:
    case usage_path::choice_output_tokens:
        return usage_field::output;
    case usage_path::prompt_cached:
    case usage_path::input_cached:
    case usage_path::choice_prompt_cached:
    case usage_path::choice_input_cached:
        return usage_field::cached;
    case usage_path::reasoning_tokens:
    case usage_path::completion_reasoning:
    case usage_path::output_reasoning:
    case usage_path::choice_reasoning_tokens:
    case usage_path::choice_completion_reasoning:
    case usage_path::choice_output_reasoning:
        return usage_field::reasoning;
    default:
        return usage_field::none;
    }
}

} // namespace llm
