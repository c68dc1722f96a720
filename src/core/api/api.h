// Which API a request speaks, and what its path says: one fact, decided once and kept with the request. What
// differs between APIs is in one row of one table, see api_table.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

enum class api : uint8_t {
    openai,
    responses, // OpenAI's too, but its streams have another form
    anthropic,
    ollama, // its own API; what it has below /v1 is OpenAI's or Anthropic's
    gemini, // Google's own
};
inline constexpr size_t api_count = static_cast<size_t>(api::gemini) + 1;

// The names that APIs have for the most tokens of a completion: bits. A server passes over those of other
// APIs, which bound nothing there.
using bound_names = uint16_t;
namespace bound_name {
enum : bound_names {
    none = 0,
    of_root = 15, // those at the top of a request
    max_tokens = 1,
    max_completion_tokens = 2,
    max_output_tokens = 4,
    n_predict = 8,
    num_predict = 16, // of `options`
    parameters_max_new_tokens = 32,
    sampling_max_new_tokens = 64,      // of `sampling_params`
    max_output_tokens_of_config = 128, // of `generationConfig`
    parameters_max_tokens = 256,
    sampling_max_tokens = 512,
    parameters_sampling_max_new_tokens = 1024, // of `parameters.sampling_params`
    max_tokens_of_inference_config = 2048,
    max_length = 4096, // KoboldCpp's; elsewhere it is of other things
    other = 8192,      // may go before one of the others, or not be looked at: by itself it is no bound
    all = 4095 | other,
};
} // namespace bound_name
inline constexpr size_t bound_name_count = 14;

// What a server reads of a request where it is not looked for: in requests within its body, in a file that
// the body names, in tensors. Bits.
using hidden_parts = uint8_t;
namespace hidden_part {
enum : hidden_parts {
    none = 0,
    models = 1,
    fields = 2, // those that rules are about
    bound = 4,  // of the tokens of a completion
    all = 7,
};
} // namespace hidden_part

// Members of the body that name models on some paths, beside those that do on all: bits.
using model_fields = uint8_t;
namespace model_field {
enum : model_fields {
    none = 0,
    name = 1,
    from = 2,
    source = 4,
    destination = 8,
    lora_name = 16,
    // What says which model it is in another way: `files`, `adapters`, `modelfile`, `path`, `lora_int_id`,
    // `model_path`.
    contents = 32,
};
} // namespace model_field

// Whether a request is for a model even if it names none: then the server chooses one.
enum class model_need : uint8_t {
    always,
    to_change, // unless it only looks something up: GET, HEAD
    to_make,   // unless it only looks something up, or deletes it
    none,
};

// What the path says of a request.
struct api_call {
    api speaks = api::openai;
    // Those that servers take on this path, or all where that is not known.
    bound_names bounds = bound_name::all;
    // The ones to be given where a request gives none; none where it is not known that servers take them.
    bound_names bound_to_give = 0;
    // Where a bound has to be, one of `bounds` has to be given: the server may read others, and none can be
    // put there.
    bool needs_bound = false;
    hidden_parts hidden = 0; // of what is made there; nothing of it matters where something is read
    model_fields names_models = 0;
    bool streams_unasked = false;      // unless the body says otherwise
    bool streams = false;              // whatever the body says
    bool takes_stream_options = false; // OpenAI's chat and completions
    // What is asked there is text or vectors, as far as is known. Else only what the reply tells is charged.
    bool generates = true;
    model_need needs_model = model_need::to_change;
    // Where the path names the model: a part of the path.
    std::string_view model = {};
    bool unclear_model = false; // servers may read another one in the path
    bool model_to_make =
        false; // where something is only looked up or deleted there, it is that, and no model
    // Else servers that cut paths where others do not would be asked for different things.
    bool is_whole = true;
};

// Of the path that the client asked for; a query may follow it. What is not known is OpenAI's.
api api_of_path(std::string_view target);
// Of the path that the server is asked for.
api_call call_of_path(std::string_view path);

// The last segment of a path, without the parameters (";x") that some servers take off it, and without what
// follows a "?" or "#".
std::string_view last_segment(std::string_view path);

} // namespace llm
