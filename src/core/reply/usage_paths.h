// Where replies have what usage_reader looks for. Internal to it.
#pragma once

#include "core/base/bytes.h"
#include "core/json/json_path_list.h"
#include "core/json/json_scan.h"
#include "usage_counts.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// What stands at a path.
enum class reply_part : uint8_t {
    other,
    root,
    envelope,      // what names the reply in each event
    more,          // at the top, of no known name
    usage,         // the usage object of the reply or the event
    wrapped_usage, // the same within `message` (Anthropic) or `response` (Responses)
    groq_usage,    // the same within `x_groq`, of an event with choices
    choice_usage,  // of one choice
    usage_field,   // in any of these
    native_field,  // a count of a native API, beside the content
    details_field, // likewise, of a reply of one choice
    timing_field,  // llama.cpp's timings, which stand beside usage, or alone
    choices,
    choice,
    choice_index,
    content,       // text: content once it is not empty
    content_parts, // text, or parts of content
    content_list,  // text, or a list with texts at paths of their own
    content_item,  // what is there is content, whatever it says
    content_other, // content if it is not empty, but of no known form
    sound,         // in base64
    reasoning,     // as content_parts
    type,          // of an event
    object,        // what the reply or the event calls itself
    top_index,     // of the choice that a native API's event is of
    finish,        // why a choice ended
    finish_any,    // why the reply ended
    item,          // JSON: one of a list of generated things
    status,        // of a Responses object
    error,
    end_mark,  // Ollama's and llama.cpp's: true in the last event
    element,   // JSON: of a list of replies, as SGLang and TGI send for several prompts
    generated, // JSON: the reply has generated text, which this is, if it is a string
    text,      // JSON: text, or parts of it
    thought,   // JSON: likewise
    vectors,   // JSON: embeddings, ranks
};

struct reply_path {
    reply_part is = reply_part::other;
    usage_field field = usage_field::count;
};

class reply_path_list : public json_path_list<reply_path, 254> {
public:
    consteval uint8_t add(std::string_view name, uint8_t parent, reply_path part = {},
                          json_text text = json_text::none)
    {
        return json_path_list::add({name, parent, text}, part);
    }
    consteval uint8_t add(std::string_view name, uint8_t parent, reply_part part,
                          json_text text = json_text::none)
    {
        return add(name, parent, reply_path{part}, text);
    }
    consteval void add_count(std::string_view name, uint8_t parent, usage_field field,
                             reply_part part = reply_part::usage_field)
    {
        add(name, parent, reply_path{part, field}, json_text::bounded);
    }

    // What a usage object has, in the names of OpenAI, Anthropic, vLLM and SGLang.
    consteval void add_usage_members(uint8_t usage)
    {
        for (const usage_name& usual : usual_usage) {
            add_count(usual.name, usage, usual.field);
        }
        add_count("input_tokens", usage, usage_field::input);
        add_count("output_tokens", usage, usage_field::output);
        add_count("reasoning_tokens", usage, usage_field::reasoning);
        add_count("cache_read_input_tokens", usage, usage_field::cache_read);
        add_count("cache_creation_input_tokens", usage, usage_field::cache_creation);
        add_count("cached_tokens", usage, usage_field::cached);           // Moonshot
        add_count("prompt_cache_hit_tokens", usage, usage_field::cached); // DeepSeek
        const uint8_t prompt = add("prompt_tokens_details", usage);
        const uint8_t completion = add("completion_tokens_details", usage);
        const uint8_t input = add("input_tokens_details", usage);
        const uint8_t output = add("output_tokens_details", usage);
        const uint8_t creation =
            add("cache_creation", usage, {reply_part::usage_field, usage_field::cache_creation},
                json_text::bounded);
        add_count("cached_tokens", prompt, usage_field::cached);
        add_count("cache_write_tokens", prompt, usage_field::cache_write);
        add_count("created_cache_tokens", prompt, usage_field::cache_write);
        add_count("cache_creation_input_tokens", prompt, usage_field::cache_write); // DashScope
        add_count("cache_creation", prompt, usage_field::cache_write);
        add_count("reasoning_tokens", completion, usage_field::reasoning);
        add_count("cached_tokens", input, usage_field::cached);
        add_count("cache_write_tokens", input, usage_field::cache_write);
        add_count("reasoning_tokens", output, usage_field::reasoning);
        add_count("thinking_tokens", output, usage_field::reasoning);
        // Anthropic's, which may come without their sum.
        add_count("ephemeral_5m_input_tokens", creation, usage_field::cache_creation_5m);
        add_count("ephemeral_1h_input_tokens", creation, usage_field::cache_creation_1h);
    }
    // The same in the names of Bedrock's Converse and of Cohere.
    consteval void add_other_usage_members(uint8_t usage)
    {
        add_count("inputTokens", usage, usage_field::input);
        add_count("outputTokens", usage, usage_field::output);
        const uint8_t tokens = add("tokens", usage);
        add_count("input_tokens", tokens, usage_field::input);
        add_count("output_tokens", tokens, usage_field::output);
    }
    // Gemini's reply, of which a stream has several: `usage`, `candidates` and `text` are what these say.
    consteval void add_gemini_members(uint8_t reply, reply_part usage, reply_part candidates, reply_part text,
                                      reply_part arguments)
    {
        const uint8_t metadata = add("usageMetadata", reply, usage);
        add_count("promptTokenCount", metadata, usage_field::prompt);
        add_count("toolUsePromptTokenCount", metadata, usage_field::beside_prompt);
        add_count("cachedContentTokenCount", metadata, usage_field::cached);
        add_count("candidatesTokenCount", metadata, usage_field::completion);
        add_count("thoughtsTokenCount", metadata, usage_field::thoughts);
        const uint8_t list = add("candidates", reply, candidates);
        const uint8_t candidate = add(
            json_elements, list, candidates == reply_part::generated ? reply_part::item : reply_part::other);
        const uint8_t content = add("content", candidate);
        add("finishReason", candidate, reply_part::finish_any);
        const uint8_t parts = add("parts", content);
        const uint8_t part = add(json_elements, parts);
        add("text", part, text);
        add("args", add("functionCall", part), arguments);
    }
    consteval void add_details_members(uint8_t details) // TGI
    {
        add_count("input_length", details, usage_field::prompt, reply_part::details_field);
        add_count("generated_tokens", details, usage_field::completion, reply_part::details_field);
    }
    consteval void add_meta_info_members(uint8_t meta) // SGLang
    {
        add_count("prompt_tokens", meta, usage_field::prompt, reply_part::native_field);
        add_count("completion_tokens", meta, usage_field::completion, reply_part::native_field);
        add_count("cached_tokens", meta, usage_field::cached, reply_part::native_field);
    }
    consteval void add_timings_members(uint8_t timings) // llama.cpp
    {
        add_count("cache_n", timings, usage_field::cache_read, reply_part::timing_field);
        add_count("prompt_n", timings, usage_field::input, reply_part::timing_field);
        add_count("predicted_n", timings, usage_field::output, reply_part::timing_field);
    }
    consteval void add_native_counts(uint8_t root) // llama.cpp, Ollama
    {
        add_count("tokens_evaluated", root, usage_field::prompt, reply_part::native_field);
        add_count("tokens_predicted", root, usage_field::completion, reply_part::native_field);
        add_count("prompt_eval_count", root, usage_field::prompt, reply_part::native_field);
        add_count("eval_count", root, usage_field::completion, reply_part::native_field);
    }
};

// Of an event of a stream, or a line of one.
consteval reply_path_list event_path_list()
{
    using part = reply_part;
    reply_path_list list;
    const uint8_t root = list.add("", 0, part::root);
    const uint8_t usage = list.add("usage", root, part::usage);
    const uint8_t choices = list.add("choices", root, part::choices);
    const uint8_t error = list.add("error", root, part::error, json_text::bounded);
    for (const std::string_view name :
         {"id", "created", "model", "system_fingerprint", "service_tier", "provider", "obfuscation"}) {
        list.add(name, root, part::envelope);
    }
    list.add(json_others, root, part::more);
    list.add("type", root, part::type, json_text::bounded);
    list.add("object", root, part::object, json_text::bounded);
    list.add("index", root, part::top_index, json_text::bounded);
    const uint8_t message = list.add("message", root);
    const uint8_t response = list.add("response", root, part::content);
    const uint8_t delta = list.add("delta", root, part::content);
    list.add("content", root, part::content);
    list.add("text", root, part::content);
    list.add("text_output", root, part::content); // Triton
    list.add("thinking", root, part::reasoning);  // Ollama's generate
    const uint8_t token = list.add("token", root);
    const uint8_t timings = list.add("timings", root);
    const uint8_t details = list.add("details", root, part::end_mark); // an object in the last event only
    const uint8_t meta_info = list.add("meta_info", root);
    list.add("stop", root, part::end_mark);
    list.add("done", root, part::end_mark);
    list.add_native_counts(root);
    const uint8_t groq = list.add("x_groq", root);

    list.add_usage_members(usage);
    list.add_other_usage_members(usage);
    const uint8_t choice = list.add(json_elements, choices, part::choice);
    list.add("message", error); // with a path into it, the scanner counts the error's members
    const uint8_t message_usage = list.add("usage", message, part::wrapped_usage);
    list.add("content", message, part::content);
    list.add("thinking", message, part::reasoning);
    list.add("tool_calls", message, part::content_parts);
    const uint8_t response_usage = list.add("usage", response, part::wrapped_usage);
    list.add("text", delta, part::content);
    list.add("thinking", delta, part::reasoning);
    list.add("partial_json", delta, part::content);
    list.add("stop_reason", delta, part::finish_any);                          // Anthropic's
    const uint8_t delta_usage = list.add("usage", delta, part::wrapped_usage); // Cohere's
    list.add_other_usage_members(delta_usage);
    list.add("text", list.add("content", list.add("message", delta)), part::content);
    list.add("text", token, part::content);
    list.add_timings_members(timings);
    list.add_details_members(details);
    list.add_meta_info_members(meta_info);

    // The details of the usage object follow its members; those of the others as well.
    list.add("index", choice, part::choice_index, json_text::bounded);
    list.add("finish_reason", choice, part::finish, json_text::bounded);
    const uint8_t choice_delta = list.add("delta", choice);
    list.add("text", choice, part::content_parts);
    const uint8_t usage_of_choice = list.add("usage", choice, part::choice_usage);
    list.add_usage_members(message_usage);
    list.add_usage_members(response_usage);
    const uint8_t content = list.add("content", choice_delta, part::content_list);
    list.add("reasoning", choice_delta, part::reasoning);
    list.add("reasoning_content", choice_delta, part::reasoning);
    list.add("refusal", choice_delta, part::content);
    const uint8_t tool_calls = list.add("tool_calls", choice_delta);
    const uint8_t function_call =
        list.add("function_call", choice_delta, part::content_item); // before there were several
    const uint8_t audio = list.add("audio", choice_delta);
    const uint8_t details_of_reasoning = list.add("reasoning_details", choice_delta, part::content_other);
    const uint8_t thinking_blocks = list.add("thinking_blocks", choice_delta, part::content_other);
    list.add("role", choice_delta);
    list.add(json_others, choice_delta, part::content_other);
    list.add_usage_members(usage_of_choice);
    const uint8_t content_part = list.add(json_elements, content); // Mistral's
    const uint8_t tool_call = list.add(json_elements, tool_calls, part::content_item);
    const uint8_t reasoning_detail = list.add(json_elements, details_of_reasoning);
    const uint8_t thinking_block = list.add(json_elements, thinking_blocks);
    list.add("data", audio, part::sound);
    list.add("transcript", audio, part::content);
    list.add("text", reasoning_detail, part::reasoning);
    list.add("summary", reasoning_detail, part::reasoning);
    list.add("thinking", thinking_block, part::reasoning);
    list.add("arguments", function_call, part::content_parts);
    list.add("text", content_part, part::content);
    const uint8_t thinking = list.add("thinking", content_part, part::content_list);
    const uint8_t function = list.add("function", tool_call);
    const uint8_t custom = list.add("custom", tool_call);
    const uint8_t thought = list.add(json_elements, thinking);
    list.add("arguments", function, part::content_parts);
    list.add("input", custom, part::content_parts);
    list.add("text", thought, part::reasoning);
    list.add_gemini_members(root, part::wrapped_usage, part::other, part::content, part::content_parts);
    const uint8_t groq_usage = list.add("usage", groq, part::groq_usage);
    list.add_count("prompt_tokens", groq_usage, usage_field::prompt);
    list.add_count("completion_tokens", groq_usage, usage_field::completion);
    list.add_count("total_tokens", groq_usage, usage_field::total);
    return list;
}

// Of a JSON reply.
consteval reply_path_list reply_path_list_of_json()
{
    using part = reply_part;
    reply_path_list list;
    const uint8_t root = list.add("", 0, part::root);
    const uint8_t element = list.add(json_elements, root, part::element);
    const uint8_t usage = list.add("usage", root, part::usage);
    const uint8_t error = list.add("error", root, part::error, json_text::bounded);
    const uint8_t choices = list.add("choices", root, part::generated);
    const uint8_t content = list.add("content", root, part::generated);
    const uint8_t message = list.add("message", root, part::generated);
    const uint8_t output = list.add("output", root, part::generated);
    list.add("object", root, part::object, json_text::bounded);
    for (const std::string_view name : {"response", "text", "generated_text", "text_output"}) {
        list.add(name, root, part::generated);
    }
    for (const std::string_view name : {"data", "embedding", "embeddings"}) {
        list.add(name, root, part::vectors);
    }
    const uint8_t results = list.add("results", root, part::vectors);
    list.add("status", root, part::status, json_text::bounded);
    const uint8_t timings = list.add("timings", root);
    const uint8_t details = list.add("details", root);
    const uint8_t meta_info = list.add("meta_info", root);
    list.add_native_counts(root);

    const uint8_t element_details = list.add("details", element);
    const uint8_t element_meta_info = list.add("meta_info", element);
    for (const std::string_view name : {"content", "text", "generated_text", "text_output"}) {
        list.add(name, element, part::generated);
    }
    list.add("score", element, part::vectors);
    list.add("embedding", element, part::vectors);
    list.add_native_counts(element);
    const uint8_t element_usage = list.add("usage", element, part::wrapped_usage);
    const uint8_t result = list.add(json_elements, results);
    list.add("text", result, part::generated); // KoboldAI
    list.add_usage_members(usage);
    list.add_other_usage_members(usage);
    list.add("message", error);
    list.add_timings_members(timings);
    list.add_details_members(details);
    list.add_meta_info_members(meta_info);
    const uint8_t choice = list.add(json_elements, choices, part::item);
    const uint8_t block = list.add(json_elements, content, part::item); // Anthropic's
    list.add("content", message, part::text);                           // Ollama's
    list.add("thinking", message, part::thought);
    list.add("tool_calls", message, part::text);
    const uint8_t item = list.add(json_elements, output, part::item); // of Responses
    list.add_count("prompt_tokens", element_usage, usage_field::prompt);
    list.add_count("completion_tokens", element_usage, usage_field::completion);
    list.add_count("total_tokens", element_usage, usage_field::total);
    list.add_details_members(element_details);
    list.add_meta_info_members(element_meta_info);

    const uint8_t choice_message = list.add("message", choice);
    list.add("text", choice, part::text);
    list.add("text", block, part::text);
    list.add("thinking", block, part::thought);
    list.add("input", block, part::text);
    const uint8_t item_content = list.add("content", item);
    const uint8_t item_summary = list.add("summary", item);
    list.add("arguments", item, part::text);
    list.add("input", item, part::text);

    list.add("content", choice_message, part::text);
    list.add("reasoning", choice_message, part::thought);
    list.add("reasoning_content", choice_message, part::thought);
    list.add("refusal", choice_message, part::text);
    const uint8_t tool_calls = list.add("tool_calls", choice_message);
    const uint8_t item_part = list.add(json_elements, item_content);
    const uint8_t item_thought = list.add(json_elements, item_summary);
    const uint8_t tool_call = list.add(json_elements, tool_calls);
    list.add("text", item_part, part::text);
    list.add("refusal", item_part, part::text);
    list.add("text", item_thought, part::thought);
    const uint8_t function = list.add("function", tool_call);
    list.add("arguments", function, part::text);
    list.add_gemini_members(root, part::usage, part::generated, part::text, part::text);
    list.add_gemini_members(element, part::wrapped_usage, part::generated, part::text, part::text);
    list.add("message", list.add("error", element, part::error, json_text::bounded));
    return list;
}

consteval uint8_t path_of(const auto& table, reply_part part)
{
    uint8_t i = 0;
    while (table.marks[i].is != part) {
        ++i;
    }
    return i;
}

inline constexpr auto event_paths = json_path_table_of<event_path_list().size>(event_path_list());
inline constexpr uint8_t event_usage_path = path_of(event_paths, reply_part::usage);
inline constexpr auto reply_paths =
    json_path_table_of<reply_path_list_of_json().size>(reply_path_list_of_json());

// The path that a member of this name has below `parent`; 0: none.
inline uint8_t child_path(const json_path* paths, uint8_t parent, std::string_view name)
{
    const json_path& from = paths[parent];
    if ((from.marks & json_name_mark(name)) == 0) {
        return 0;
    }
    uint8_t at = from.slots[json_name_slot(name)];
    while (at != 0
           && (paths[at].name.size() != name.size()
               || !same_bytes(paths[at].name.data(), name.data(), name.size()))) {
        at = paths[at].next;
    }
    return at;
}

} // namespace llm
