// Where requests have what request_facts reads. Internal to it.
#pragma once

#include "core/api/api.h"
#include "core/json/json_path_list.h"

#include <cstdint>
#include <string_view>

namespace llm {

// What is at a path.
enum class request_part : uint8_t {
    other,
    root,
    model,
    stream,
    stream_options,
    include_usage,
    continuous_usage,
    bound,        // of the completion's tokens
    choices,      // of one prompt
    reply_fields, // which fields the reply is to have
    prompt_element,
    model_list,
    model_or_list,
    model_or_schema, // likewise, but an object is a schema
    model_map,       // an object whose every value is a listed_model
    listed_model,
    adapter, // a model of its own
    adapters,
    listed_adapter, // its name, or an object that has it
    unnamed_model,  // a model, but not by its name
    named,          // where the path says so, a name of a model
    // What is no text, see request_media.
    url,      // of an image, audio or video
    file,     // a file's content
    base64,   // an image or audio so, or as a url
    carrier,  // an object that has one
    data,     // its content
    type,     // its media type
    encoding, // how its content is written, where there are several ways
};

struct request_path {
    request_part is = request_part::other;
    uint8_t once = 0;        // a number of its own, from 1 up, of a member that may be there once only
    bound_names bound = {};  // of request_part::bound
    model_fields names = {}; // of request_part::named
};

class request_path_list {
public:
    json_path_list<request_path, 240> list;
    uint8_t onces = 0;

    // A member of which there may be one only, since what it says is used.
    constexpr uint8_t add_once(std::string_view name, uint8_t parent, request_part is,
                               json_text text = json_text::none, bool any_case = false)
    {
        return list.add({name, parent, text, any_case}, {is, ++onces});
    }
    constexpr uint8_t add_bound(std::string_view name, uint8_t parent, bound_names bound)
    {
        return list.add({name, parent, json_text::bounded}, {request_part::bound, ++onces, bound});
    }
    // A member of the root that names a model on some paths, where servers may read it in any case. Others
    // have it for other things.
    constexpr void add_named(std::string_view name, uint8_t root, model_fields names)
    {
        const json_text text = names == model_field::contents ? json_text::none : json_text::pieces;
        list.add({name, root, text, true}, {request_part::named, 0, {}, names});
    }
    // What is told as often as it is there.
    constexpr uint8_t add_part(std::string_view name, uint8_t parent, request_part is,
                               json_text text = json_text::bounded)
    {
        return list.add({name, parent, text}, {is});
    }
    // What only leads to others. `told`: all the same, as members of the root are where their places are
    // kept.
    constexpr uint8_t add_way(std::string_view name, uint8_t parent, bool told = false)
    {
        return list.add({name, parent, json_text::none, false, !told}, {});
    }

    // What names models of its own.
    constexpr void add_models(uint8_t object, request_part is)
    {
        for (const std::string_view name : {"model", "analysis_models"}) {
            const uint8_t models = add_part(name, object, is, json_text::pieces);
            add_part(json_elements, models, request_part::listed_model, json_text::pieces);
        }
    }
    // Tools that may, as OpenAI's pictures, Anthropic's advisor and OpenRouter's have. Where theirs name
    // them, a function has a schema. The path of these `parameters`.
    constexpr uint8_t add_tools(uint8_t tools)
    {
        const uint8_t tool = add_way(json_elements, tools);
        add_models(tool, request_part::model_or_list);
        const uint8_t parameters = add_way("parameters", tool);
        add_models(parameters, request_part::model_or_schema);
        return parameters;
    }

    // An object with data and its media type, in the spelling of Anthropic, or in the two of Gemini.
    constexpr void add_carrier(std::string_view name, uint8_t parent)
    {
        const uint8_t object = add_part(name, parent, request_part::carrier, json_text::none);
        add_part("data", object, request_part::data);
        if (name == "source") {
            add_part("media_type", object, request_part::type);
            add_part("type", object, request_part::encoding);
        } else {
            add_part("mimeType", object, request_part::type);
            add_part("mime_type", object, request_part::type);
        }
    }
    // A part of a message's content, in the APIs of OpenAI and Anthropic.
    constexpr void add_content_part(uint8_t part)
    {
        const uint8_t image = add_part("image_url", part, request_part::url);
        add_part("url", image, request_part::url);
        add_part("url", add_way("video_url", part), request_part::url);
        add_part("url", add_way("audio_url", part), request_part::url);
        add_part("data", add_way("input_audio", part), request_part::base64);
        add_part("file_data", part, request_part::file);
        add_part("file_data", add_way("file", part), request_part::file);
        add_carrier("source", part);
    }
    constexpr void add_images(uint8_t parent, bool told = false)
    {
        add_part(json_elements, add_way("images", parent, told), request_part::base64);
    }
};

// `members`: the root's members are told too, whatever their names. `nested`: images and files are looked for
// also where they are in an array within another one.
constexpr request_path_list request_paths_of(bool members, bool nested)
{
    using part = request_part;
    request_path_list l;
    const uint8_t root = l.list.add({""}, {part::root});
    l.add_once("model", root, part::model, json_text::pieces, true);
    l.add_once("stream", root, part::stream, json_text::bounded, true);
    const uint8_t options = l.add_once("stream_options", root, part::stream_options, json_text::none, true);
    l.add_once("include_usage", options, part::include_usage, json_text::bounded, true);
    l.add_once("continuous_usage_stats", options, part::continuous_usage, json_text::bounded, true);

    l.add_bound("max_tokens", root, bound_name::max_tokens);
    l.add_bound("max_completion_tokens", root, bound_name::max_completion_tokens);
    l.add_bound("max_output_tokens", root, bound_name::max_output_tokens);
    l.add_bound("n_predict", root, bound_name::n_predict);
    l.add_bound("max_length", root, bound_name::max_length);
    for (const std::string_view name : {"n", "best_of", "n_cmpl"}) {
        l.add_once(name, root, part::choices, json_text::bounded);
    }
    l.add_part("response_fields", root, part::reply_fields, json_text::none); // llama.cpp's
    const uint8_t prompt = l.add_once("prompt", root, part::other);
    const uint8_t prompt_element = l.add_part(json_elements, prompt, part::prompt_element, json_text::none);
    for (const std::string_view name : {"text", "input_ids"}) { // SGLang's
        l.add_part(json_elements, l.add_way(name, root, members), part::prompt_element, json_text::none);
    }
    for (const std::string_view name :
         {"models", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks"}) {
        const uint8_t models = l.add_once(name, root, part::model_list);
        l.add_part(json_elements, models, part::listed_model, json_text::pieces);
    }
    // SGLang's and vLLM's lora_path names what makes another model of its own: one, or a list.
    const uint8_t loras = l.add_once("lora_path", root, part::model_or_list, json_text::pieces);
    l.add_part(json_elements, loras, part::listed_model, json_text::pieces);
    // Also what Ollama makes a model of, where it says more than names.
    const uint8_t adapters = l.list.add({"adapters", root, json_text::pieces, true}, {part::adapters});
    const uint8_t adapter = l.add_part(json_elements, adapters, part::listed_adapter, json_text::pieces);
    for (const std::string_view name : {"name", "id"}) {
        l.add_part(name, adapter, part::adapter, json_text::pieces);
    }
    for (const std::string_view name : {"draft_model", "adapter_id"}) {
        l.add_part(name, root, part::adapter, json_text::pieces);
    }
    // Mistral's; adapters of llama.cpp and TensorRT-LLM, which go by their numbers
    for (const std::string_view name : {"agent_id", "lora", "lora_request"}) {
        l.add_part(name, root, part::unnamed_model, json_text::none);
    }
    // OpenRouter's advisor has tools too.
    l.add_tools(l.add_way("tools", l.add_tools(l.add_way("tools", root, members))));
    l.add_models(l.add_way(json_elements, l.add_way("plugins", root, members)), part::model_or_list);
    // LiteLLM's, and Groq's.
    for (const uint8_t map :
         {l.add_part("context_window_fallback_dict", root, part::model_map, json_text::none),
          l.add_part("models", l.add_way("compound_custom", root, members), part::model_map,
                     json_text::none)}) {
        l.add_part(json_others, map, part::listed_model, json_text::pieces);
    }
    // Gemini's requests within requests.
    l.add_part("model", l.add_way(json_elements, l.add_way("requests", root, members)), part::adapter,
               json_text::pieces);
    for (const std::string_view name : {"generateContentRequest", "generate_content_request"}) {
        l.add_part("model", l.add_way(name, root, members), part::adapter, json_text::pieces);
    }
    l.add_named("name", root, model_field::name); // Ollama's
    l.add_named("from", root, model_field::from);
    l.add_named("source", root, model_field::source);
    l.add_named("destination", root, model_field::destination);
    l.add_named("lora_name", root, model_field::lora_name);
    for (const std::string_view name : {"files", "modelfile", "path", "lora_int_id", "model_path"}) {
        l.add_named(name, root, model_field::contents);
    }
    l.add_bound("num_predict", l.add_once("options", root, part::other), bound_name::num_predict);
    const uint8_t parameters = l.add_once("parameters", root, part::other);
    l.add_bound("max_new_tokens", parameters, bound_name::parameters_max_new_tokens);
    l.add_once("best_of", parameters, part::choices, json_text::bounded);
    // TGI's, which names a model that was made from the server's own.
    l.add_once("adapter_id", parameters, part::adapter, json_text::pieces);
    // LoRAX's, of which it makes one.
    l.add_part(json_elements, l.add_part("ids", l.add_way("merged_adapters", parameters), part::model_list),
               part::listed_model, json_text::pieces);
    l.add_bound("max_tokens", parameters, bound_name::parameters_max_tokens); // Triton's
    // SGLang's requests as Vertex has them.
    l.add_once("lora_path", parameters, part::adapter, json_text::pieces);
    const uint8_t sampling_within = l.add_once("sampling_params", parameters, part::other);
    l.add_bound("max_new_tokens", sampling_within, bound_name::parameters_sampling_max_new_tokens);
    const uint8_t sampling = l.add_once("sampling_params", root, part::other);
    l.add_bound("max_new_tokens", sampling, bound_name::sampling_max_new_tokens);
    l.add_bound("max_tokens", sampling, bound_name::sampling_max_tokens);       // vLLM's
    const uint8_t inference = l.add_once("inferenceConfig", root, part::other); // Bedrock's
    l.add_bound("maxTokens", inference, bound_name::max_tokens_of_inference_config);
    l.add_once("n", sampling, part::choices, json_text::bounded);
    // Gemini's, whose every field has two spellings.
    for (const std::string_view name : {"generationConfig", "generation_config"}) {
        const uint8_t config = l.add_once(name, root, part::other);
        l.add_bound("maxOutputTokens", config, bound_name::max_output_tokens_of_config);
        l.add_bound("max_output_tokens", config, bound_name::max_output_tokens_of_config);
        l.add_once("candidateCount", config, part::choices, json_text::bounded);
        l.add_once("candidate_count", config, part::choices, json_text::bounded);
    }

    // What is no text is looked for only where servers read nothing else: a tool's schema or its arguments,
    // which may have any members, are text of the prompt.
    if (nested) {
        const uint8_t message = l.add_way(json_elements, l.add_way("messages", root, members));
        const uint8_t content = l.add_way(json_elements, l.add_way("content", message));
        l.add_content_part(content);
        l.add_content_part(l.add_way(json_elements, l.add_way("content", content))); // of a tool's result
        l.add_images(message);
        const uint8_t turn = l.add_way(json_elements, l.add_way("contents", root, members)); // Gemini's
        const uint8_t turn_part = l.add_way(json_elements, l.add_way("parts", turn));
        l.add_carrier("inlineData", turn_part);
        l.add_carrier("inline_data", turn_part);
    }
    const uint8_t item = l.add_way(json_elements, l.add_way("input", root, members)); // of Responses
    l.add_content_part(l.add_way(json_elements, l.add_way("content", item)));
    const uint8_t output = l.add_way("output", item);
    l.add_content_part(l.add_way(json_elements, output));
    l.add_part("image_url", output, part::url);                              // of a screen
    l.add_images(root, members);                                             // Ollama's
    const uint8_t image_data = l.add_part("image_data", root, part::base64); // SGLang's, llama.cpp's
    const uint8_t image = l.add_part(json_elements, image_data, part::base64);
    l.add_part("data", image, part::base64);
    for (const uint8_t parent : {prompt, prompt_element}) {
        l.add_part(json_elements, l.add_way("multimodal_data", parent), part::base64); // llama.cpp's
    }
    if (members) {
        l.list.add({json_others, root}, {});
    }
    return l;
}

template <bool Members, bool Nested>
inline constexpr request_path_list request_path_lists = request_paths_of(Members, Nested);

template <bool Members, bool Nested = true>
inline constexpr auto request_paths = json_path_table_of<request_path_lists<Members, Nested>.list.size>(
    request_path_lists<Members, Nested>.list);

} // namespace llm
