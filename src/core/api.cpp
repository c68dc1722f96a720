#include "api.h"

#include <algorithm>

namespace llm {

namespace {

constexpr std::string_view ollama_names[] = {"chat", "generate", "embed",  "embeddings", "tags",
                                             "show", "ps",       "create", "copy",       "pull",
                                             "push", "delete",   "version"};

// True if the whole segments of `part` stand in the path, wherever.
bool has_segments(std::string_view path, std::string_view part)
{
    for (size_t at = path.find(part); at != std::string_view::npos; at = path.find(part, at + 1)) {
        size_t end = at + part.size();
        if (end == path.size() || path[end] == '/') {
            return true;
        }
    }
    return false;
}

// "/api" alone says little: OpenRouter has OpenAI's API below /api/v1, Open WebUI at /api/chat/completions.
bool is_ollama(std::string_view path)
{
    constexpr std::string_view api_segment = "/api/";
    size_t at = path.rfind(api_segment);
    if (at == std::string_view::npos) {
        return false;
    }
    std::string_view rest = path.substr(at + api_segment.size());
    return rest.starts_with("blobs/")
           || std::find(std::begin(ollama_names), std::end(ollama_names), rest) != std::end(ollama_names);
}

} // namespace

api api_of_path(std::string_view target)
{
    std::string_view path = target.substr(0, target.find_first_of("?#"));
    if (has_segments(path, "/v1/messages")) {
        return api::anthropic;
    }
    if (has_segments(path, "/responses")) {
        return api::responses;
    }
    return is_ollama(path) ? api::ollama : api::openai;
}

} // namespace llm
