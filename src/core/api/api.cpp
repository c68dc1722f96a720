#include "api.h"

#include <algorithm>

namespace llm {

namespace {

constexpr std::string_view usual_target = "/v1/chat/completions";

constexpr std::string_view ollama_names[] = {"chat", "generate", "embed",  "embeddings", "tags",
                                             "show", "ps",       "create", "copy",       "pull",
                                             "push", "delete",   "version"};

// True if `rest`, which begins with a slash, begins with the whole segments of `part`.
bool begins_with(std::string_view rest, std::string_view part)
{
    return rest.starts_with(part)
           && (rest.size() == part.size() || rest[part.size()] == '/' || rest[part.size()] == '?'
               || rest[part.size()] == '#');
}

// "/api" alone says little: OpenRouter has OpenAI's API below /api/v1, Open WebUI at /api/chat/completions.
// `rest` is what follows the last "/api/".
bool is_ollama(std::string_view rest)
{
    return rest.starts_with("blobs/")
           || std::find(std::begin(ollama_names), std::end(ollama_names), rest) != std::end(ollama_names);
}

} // namespace

api api_of_path(std::string_view target)
{
    constexpr std::string_view api_segment = "/api/";
    if (target == usual_target) {
        return api::openai;
    }
    bool has_responses = false;
    size_t after_api = 0;
    size_t at = 0;
    for (; at < target.size(); at++) {
        char c = target[at];
        if (c > '?') {
            continue;
        }
        if (c == '?' || c == '#') {
            break;
        }
        if (c != '/') {
            continue;
        }
        std::string_view rest = target.substr(at);
        // The letter first: most segments are none of these.
        switch (rest.size() > 1 ? rest[1] : '\0') {
        case 'v':
            if (begins_with(rest, "/v1/messages")) {
                return api::anthropic;
            }
            break;
        case 'r':
            has_responses = has_responses || begins_with(rest, "/responses");
            break;
        case 'a':
            after_api = rest.starts_with(api_segment) ? at + api_segment.size() : after_api;
            break;
        default:
            break;
        }
    }
    if (has_responses) {
        return api::responses;
    }
    return after_api != 0 && is_ollama(target.substr(after_api, at - after_api)) ? api::ollama : api::openai;
}

std::string_view last_segment(std::string_view path)
{
    path = path.substr(0, path.find_first_of("?#"));
    while (!path.empty()) {
        std::string_view segment = path.substr(path.rfind('/') + 1);
        std::string_view name = segment.substr(0, segment.find(';'));
        if (!name.empty()) {
            return name;
        }
        path.remove_suffix(std::min(segment.size() + 1, path.size()));
    }
    return {};
}

bool streams_unasked(std::string_view path)
{
    return path.ends_with("/api/chat") || path.ends_with("/api/generate");
}

} // namespace llm
