#include "api_table.h"

#include "error_shapes.h"
#include "path_model.h"

#include "core/base/bytes.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>

namespace llm {

namespace {

// --- paths, which are in small letters

bool is_anthropics(std::string_view path)
{
    return has_segments(path, "/v1/messages");
}

bool is_of_responses(std::string_view path)
{
    return has_segments(path, "/responses") && !is_anthropics(path);
}

// "/api" alone says little: OpenRouter has OpenAI's API below /api/v1, Open WebUI at /api/chat/completions.
bool is_ollamas(std::string_view path)
{
    constexpr std::string_view segment = "/api/";
    constexpr std::string_view names[] = {"chat", "generate", "embed",  "embeddings", "tags",
                                          "show", "ps",       "create", "copy",       "pull",
                                          "push", "delete",   "version"};
    const size_t at = path.rfind(segment);
    if (at == std::string_view::npos || is_anthropics(path) || is_of_responses(path)) {
        return false;
    }
    const std::string_view rest = path.substr(at + segment.size());
    return rest.starts_with("blobs/")
           || std::find(std::begin(names), std::end(names), rest) != std::end(names);
}

bool is_one_of(std::string_view name, std::span<const std::string_view> names)
{
    return std::find(names.begin(), names.end(), name) != names.end();
}

// What servers have beside OpenAI's API, under names of their own. False if it is none of these.
bool read_native_path(std::string_view path, std::string_view name, api_call& call)
{
    using namespace bound_name;
    constexpr std::string_view converse[] = {"converse", "converse-stream"};
    constexpr std::string_view invoke[] = {"invoke", "invoke-with-response-stream"};
    const auto bounds = [&call](bound_names all, bound_names to_give) {
        call.bounds = all;
        call.bound_to_give = to_give;
    };
    const bool is_bedrocks = path.find("/model/") != std::string_view::npos;
    const bool is_kserves = path.find("/v2/models/") != std::string_view::npos;
    const bool generates = name == "generate" || name == "generate_stream";
    if (name == "completion" || name == "infill") { // llama.cpp
        bounds(n_predict | max_tokens, n_predict);
    } else if ((name == "generate"
                && (path.ends_with("/api/v1/generate") || path.ends_with("/api/latest/generate")))
               || path.ends_with("/api/extra/generate/stream")) { // KoboldCpp
        bounds(max_length, max_length);
    } else if (generates && path.find("/inference/v1/generate") != std::string_view::npos) { // vLLM
        bounds(sampling_max_tokens, sampling_max_tokens);
    } else if (generates && is_kserves) { // Triton: its backends read the one or the other
        bounds(max_tokens | parameters_max_tokens, max_tokens | parameters_max_tokens);
    } else if (generates) { // TGI, SGLang: each of these servers passes over the other's
        bounds(parameters_max_new_tokens | sampling_max_new_tokens,
               parameters_max_new_tokens | sampling_max_new_tokens);
    } else if (name == "vertex_generate") { // SGLang
        bounds(parameters_sampling_max_new_tokens, parameters_sampling_max_new_tokens);
    } else if (name
               == "invocations") { // SageMaker: vLLM and SGLang take chats there, TGI its own requests too
        bounds(max_tokens | max_completion_tokens | parameters_max_new_tokens,
               max_tokens | parameters_max_new_tokens);
    } else if (name.empty()) { // TGI's own requests too
        call.bound_to_give = parameters_max_new_tokens;
    } else if (is_kserves && name == "infer") { // in tensors
        call.hidden = hidden_part::fields | hidden_part::bound;
    } else if (is_bedrocks && is_one_of(name, converse)) {
        bounds(max_tokens_of_inference_config | other, max_tokens_of_inference_config);
    } else if (is_bedrocks && is_one_of(name, invoke)) { // as each model has it
        bounds(max_tokens | max_tokens_of_inference_config, none);
        call.needs_bound = true;
    } else {
        return false;
    }
    return true;
}

// OpenAI's, and what servers of that API have beside it.
api_call read_openai_path(std::string_view path)
{
    using namespace bound_name;
    const std::string_view name = last_segment(path);
    api_call call;
    call.needs_model = need_of_path(path, name);
    call.hidden = hidden_in_path(path);
    if (name == "completions") {
        const bool is_chat = path.find("/chat/completions") != std::string_view::npos;
        call.bounds = is_chat ? max_tokens | max_completion_tokens : max_tokens;
        call.bound_to_give = max_tokens;
        call.takes_stream_options = true;
    } else if (name == "batch" && path.find("/chat/completions/") != std::string_view::npos) { // vLLM
        call.bounds = max_tokens | max_completion_tokens; // of each conversation
        call.bound_to_give = max_tokens;
    } else if (!read_native_path(path, name, call)) {
        constexpr std::string_view vectors[] = {"embeddings", "rerank", "score", "classify", "pooling"};
        call.generates = !has_no_text(path, name);
        if (is_one_of(name, vectors) || has_segments(path, "/audio") || has_segments(path, "/images")
            || has_segments(path, "/moderations") || has_segments(path, "/videos")) {
            call.bounds = none;
        }
        if (name == "load_lora_adapter") {
            call.names_models = model_field::lora_name;
        } else if (name == "unload_lora_adapter") {
            call.names_models = model_field::lora_name | model_field::contents;
        } else if (name == "update_weights_from_disk") { // SGLang
            call.names_models = model_field::contents;
        }
    }
    return call;
}

api_call read_responses_path(std::string_view path)
{
    const std::string_view name = last_segment(path);
    return {.speaks = api::responses,
            .bounds = bound_name::max_output_tokens,
            .bound_to_give = name == "responses" ? bound_name::max_output_tokens : bound_name::none,
            .generates = name != "input_tokens" && name != "cancel",
            .needs_model = need_of_path(path, name)};
}

api_call read_anthropic_path(std::string_view path)
{
    return {.speaks = api::anthropic,
            .bounds = bound_name::max_tokens,
            .bound_to_give = last_segment(path) == "messages" ? bound_name::max_tokens : bound_name::none,
            .hidden = hidden_in_path(path),
            .generates = last_segment(path) != "count_tokens",
            .needs_model = need_of_path(path, last_segment(path))};
}

api_call read_ollama_path(std::string_view path)
{
    const std::string_view name = last_segment(path);
    const bool makes_text = name == "chat" || name == "generate";
    constexpr std::string_view by_name[] = {"show", "pull", "push", "delete"};
    const model_fields names = name == "create"
                                   ? model_field::name | model_field::from | model_field::contents
                               : name == "copy"           ? model_field::source | model_field::destination
                               : is_one_of(name, by_name) ? model_field::name
                                                          : model_field::none;
    return {.speaks = api::ollama,
            .bounds = makes_text ? bound_name::num_predict : bound_name::none,
            .bound_to_give = makes_text ? bound_name::num_predict : bound_name::none,
            .names_models = names,
            .streams_unasked = makes_text,
            // Vectors are worked for as well, whether or not their prompt is counted.
            .generates = makes_text || name == "embed" || name == "embeddings",
            .needs_model = name == "tags" || name == "version" || name == "ps" ? model_need::none
                           : path.find("/blobs/") != std::string_view::npos    ? model_need::to_make
                                                                               : model_need::to_change};
}

constexpr std::string_view gemini_methods[] = {
    "generatecontent",    "streamgeneratecontent",  "counttokens",         "embedcontent",
    "batchembedcontents", "asyncbatchembedcontent", "batchgeneratecontent"};
constexpr std::string_view gemini_collections[] = {"models", "tunedmodels", "dynamic", "endpoints"};

// ".../models/NAME:METHOD", also ".../tunedModels/NAME:METHOD", and Vertex's ".../endpoints/NAME:METHOD". In
// what it has, Google's API has no other paths with a model. Other servers of that API have names with
// slashes.
struct gemini_path {
    std::string_view collection;
    std::string_view name;
    std::string_view method;

    explicit gemini_path(std::string_view path)
    {
        path = path.substr(0, path.find_first_of("?#"));
        const size_t slash = path.rfind('/');
        const size_t colon = path.rfind(':');
        if (slash == std::string_view::npos || colon == std::string_view::npos || colon < slash + 2) {
            return;
        }
        const std::string_view before = path.substr(0, slash);
        collection = before.substr(before.rfind('/') + 1);
        name = path.substr(slash + 1, colon - slash - 1);
        method = path.substr(colon + 1);
        if (!is_collection(collection) && is_one_of(method, gemini_methods)) {
            read_long_name(path.substr(0, colon));
        }
    }

    static bool is_collection(std::string_view text) { return is_one_of(text, gemini_collections); }

    void read_long_name(std::string_view before)
    {
        for (size_t slash = before.rfind('/'); slash != std::string_view::npos && slash != 0;
             slash = before.rfind('/', slash - 1)) {
            const std::string_view first = before.substr(0, slash);
            const std::string_view segment = first.substr(first.rfind('/') + 1);
            if (is_collection(segment)) {
                collection = segment;
                name = before.substr(slash + 1);
                return;
            }
        }
    }
};

bool is_geminis(std::string_view path)
{
    return gemini_path::is_collection(gemini_path(path).collection);
}

api_call read_gemini_path(std::string_view path)
{
    constexpr std::string_view publishers[] = {"rawpredict",
                                               "streamrawpredict"}; // Vertex, for others' models
    const gemini_path parts(path);
    const bool makes_content = parts.method == "generatecontent" || parts.method == "streamgeneratecontent";
    const bool is_known = is_one_of(parts.method, gemini_methods);
    const bool is_publishers = is_one_of(parts.method, publishers);
    const bool is_name = parts.collection == "models" && !is_known && !is_publishers;
    const bound_names bounds = makes_content   ? bound_name::max_output_tokens_of_config
                               : is_known      ? bound_name::none
                               : is_publishers ? bound_name::max_tokens
                                               : bound_name::all;
    // A tuned model is another one than a model of that name, which goes without its collection.
    const char* const begin = parts.collection == "tunedmodels" ? parts.collection.data() : parts.name.data();
    api_call call{.speaks = api::gemini,
                  .bounds = bounds,
                  .bound_to_give = makes_content ? bound_name::max_output_tokens_of_config : bound_name::none,
                  .needs_bound = is_publishers,
                  .streams = parts.method.starts_with("stream"),
                  .generates = parts.method != "counttokens",
                  .model = {begin, static_cast<size_t>(parts.name.data() + parts.name.size() - begin)},
                  .model_to_make = is_name};
    if (is_name) { // Ollama's names have a colon too: "GET /v1/models/qwen3:8b"
        call.needs_model = model_need::to_make;
    }
    if (parts.method == "batchembedcontents") {
        call.hidden = hidden_part::fields; // the models of the requests within are read
    } else if (parts.method == "batchgeneratecontent" || parts.method == "asyncbatchembedcontent") {
        call.hidden = hidden_part::all;
    } else if (!is_known
               && !is_publishers) { // such as `predict`, whose `instances` are as each model has them
        call.hidden = hidden_part::fields | hidden_part::bound;
    }
    return call;
}

// --- headers

constexpr limit_header_names openai_headers = {
    {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
    {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
    false};
constexpr limit_header_names anthropic_headers = {
    {"anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining",
     "anthropic-ratelimit-requests-reset"},
    {"anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining",
     "anthropic-ratelimit-tokens-reset"},
    true};

// --- events

constexpr std::string_view anthropic_deltas[] = {"content_block_delta"};
constexpr std::string_view responses_deltas[] = {
    "response.output_text.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
    "response.function_call_arguments.delta",
};

// --- the rows

constexpr std::array rows = {
    api_row{"openai", nullptr, read_openai_path, openai_headers, false, put_openai_error,
            put_openai_error_event},
    api_row{"openai", is_of_responses, read_responses_path, openai_headers, false, put_openai_error,
            put_responses_error_event, responses_deltas},
    api_row{"anthropic", is_anthropics, read_anthropic_path, anthropic_headers, true, put_anthropic_error,
            put_anthropic_error_event, anthropic_deltas},
    // Ollama has no events of its own.
    api_row{"ollama", is_ollamas, read_ollama_path, openai_headers, false, put_ollama_error,
            put_openai_error_event},
    api_row{"gemini", is_geminis, read_gemini_path, openai_headers, false, put_gemini_error,
            put_gemini_error_event},
};

static_assert(rows.size() == api_count);

constexpr size_t delta_count = [] {
    size_t n = 0;
    for (const api_row& row : rows) {
        n += row.deltas.size();
    }
    return n;
}();
constexpr auto deltas = [] {
    std::array<std::string_view, delta_count> all;
    auto next = all.begin();
    for (const api_row& row : rows) {
        next = std::copy(row.deltas.begin(), row.deltas.end(), next);
    }
    return all;
}();

} // namespace

std::span<const std::string_view> all_deltas()
{
    return deltas;
}

std::span<const api_row> api_rows()
{
    return rows;
}

} // namespace llm
