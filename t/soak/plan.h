// What happens to each request: drawn from the seed and its number alone, so that a run can be had again.
#pragma once

#include "reply_script.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace soak {

enum scope : unsigned { by_key, by_user, by_model, by_address, by_zone, scopes };

inline constexpr std::array<const char*, scopes> scope_names = {"key", "user", "model", "address", "zone"};

// So many of each, as t/soak.t sets them up; keys 2n and 2n + 1 are user n's.
inline constexpr std::array<unsigned, scopes> subjects = {6, 3, 4, 4, 1};

// One of each scope: whom a request is counted for.
using subject_set = std::array<unsigned, scopes>;

// What is asked for, and with it which server answers.
enum class dialect : unsigned {
    chat,
    completions,
    responses,
    messages,
    ollama_chat,
    ollama_generate,
    gemini,
    llama_cpp,
    tgi,
    sglang,
    embeddings,
    rerank,
    ollama_embed,
};
inline constexpr unsigned dialects = 13;
inline constexpr bool generates(dialect d)
{
    return d < dialect::embeddings;
}

// Of OpenAI's API: when the server tells the usage of a stream.
enum class telling : unsigned {
    as_asked,  // in the last chunk, or in each chunk too, as the request asks (vLLM)
    last_only, // in the last chunk, and null in those before it, if asked (OpenAI)
    always,    // in the last chunk that has a choice (llama.cpp and TGI: completions)
    never,
};

// Which rule lets the request in, or refuses it.
enum class fate : unsigned {
    let_in,
    no_key,
    nobodys,
    disabled,
    expired,
    not_its_model,
    over_rate,
    spent,
    bad_body,
    too_large,
    too_large_chunked,
};
inline constexpr unsigned fates = 11;

struct fate_row {
    const char* secret; // nullptr: that of the plan's key
    const char* key;    // as it is logged; nullptr: that of the plan
    const char* reason; // $llm_refusal; nullptr: it is let in
};

const fate_row& row_of(fate f);

struct plan {
    subject_set who{};
    fate meets = fate::let_in;
    dialect speaks = dialect::chat;
    std::string place; // the location's path, before that of the API
    bool stream = false;
    bool asks_usage = false;   // OpenAI's stream_options
    bool asks_running = false; // continuous_usage_stats, of vLLM
    std::size_t prompt_bytes = 0;
    unsigned max_tokens = 0;

    // What is generated. A stream has an event for each `grain` of tokens that are shown.
    counts used;
    unsigned grain = 1;
    telling tells = telling::as_asked;
    bool hides_prompt = false; // as Ollama does with one that it has cached
    bool details = false;
    bool cut_short = false;    // it ends with max_tokens
    bool array = false;        // Gemini: elements of an array instead of events
    bool headers = false;      // TGI: counts are told in headers
    bool crlf = false;         // ends of lines, of events
    unsigned breaks_after = 0; // so many events, with an error; 0 = does not

    // The client sends the request in two pieces, this far apart.
    std::size_t split = 0;
    unsigned split_ms = 0;
    // It leaves when it has sent, or received, so many bytes; npos = never.
    std::size_t leaves_after_sent = std::string::npos;
    unsigned leaves_in_ms = 0;
    std::size_t leaves_after_received = std::string::npos;
    bool client_resets = false;
    bool client_stays_connected = false; // for its next request

    // The upstream sends its reply in so many slices, each after so many milliseconds, and leaves when it has
    // sent this part (of 1000) of it; above 1000 = never.
    unsigned slices = 1;
    unsigned slice_ms = 0;
    unsigned cuts_at = 1001;
    bool upstream_resets = false;
    bool cuts_first = false; // of two replies, where an internal redirect makes two
    unsigned fails = 0;      // with this status

    static plan draw(std::uint64_t seed, std::uint64_t number);
    // Whether an upstream's reply to it comes after a first one that leads to another location.
    bool makes_two() const;
    std::string model() const { return "m" + std::to_string(who[by_model]); }
};

} // namespace soak
