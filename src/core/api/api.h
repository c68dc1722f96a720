// Whose API a request is for.
#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

enum class api : uint8_t {
    openai,
    responses, // OpenAI's too, but its streams have another form
    anthropic,
    ollama, // its own API; what it has below /v1 is OpenAI's or Anthropic's
};

// By the path that the client asked for. A query may follow it. What is not known is OpenAI's.
api api_of_path(std::string_view target);

// The last segment of a path, without the parameters (";x") that some servers take off it, and without what
// follows a "?" or "#".
std::string_view last_segment(std::string_view path);

// Whether a request to this path streams unless it says otherwise: Ollama's chat and generate do.
bool streams_unasked(std::string_view path);

} // namespace llm
