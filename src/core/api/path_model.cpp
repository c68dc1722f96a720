#include "path_model.h"

#include "core/base/bytes.h"
#include "core/base/chars.h"

#include <algorithm>
#include <iterator>
#include <span>

namespace llm {

namespace {

struct operation {
    std::string_view name;
    bool streams = false;
};

// What may follow a name that may have slashes of its own. A longer one comes before its end. Without the
// slash at its begin it is no name: the server is then asked for that, and the body names the model.
constexpr operation usual_operations[] = {
    {"/extensions/chat/completions"},
    {"/v1/chat/completions"},
    {"/chat/completions"},
    {"/v1/completions"},
    {"/completions"},
    {"/v1/embeddings"},
    {"/images/embeddings"},
    {"/embeddings"},
    {"/v1/responses"},
    {"/responses"},
    {"/v1/messages"},
    {"/images/generations"},
    {"/images/edits"},
    {"/images/variations"},
    {"/audio/transcriptions"},
    {"/audio/translations"},
    {"/audio/speech"},
    {"/realtime"},
    {"/rerank"},
    {"/invocations"},
    {"/invocations-response-stream", true},
    {"/load"},
    {"/unload"},
};
constexpr operation bedrock_operations[] = {
    {"/invoke"},       {"/invoke-with-response-stream", true},
    {"/converse"},     {"/converse-stream", true},
    {"/async-invoke"}, {"/invoke-with-bidirectional-stream", true},
    {"/count-tokens"},
};
constexpr operation kserve_operations[] = {{"/infer"}, {"/generate"}, {"/generate_stream", true}};
constexpr operation repository_operations[] = {{"/load"}, {"/unload"}};

// Where paths have a name: between `before`, which begins and ends with a slash, and an operation at the end.
struct name_place {
    std::string_view before;
    std::span<const operation> operations;
    size_t segments; // that the name has before an operation that is not known; 0: there is none then
    bool to_make = false;
};
constexpr name_place name_places[] = {
    {"/deployments/", usual_operations, 1},       // Azure's
    {"/engines/", usual_operations, 1},           // OpenAI's of old
    {"/serving-endpoints/", usual_operations, 1}, // Databricks's
    {"/endpoints/", usual_operations, 1},         // Vertex's, SageMaker's
    {"/upstream/", usual_operations, 1},          // llama-swap's
    {"/model/", bedrock_operations, 0},
    {"/v2/repository/models/", repository_operations, 0},
    {"/v2/models/", kserve_operations, 0},
    {"/ai/run/", {}, 4},                    // Cloudflare's: "@cf/ORG/NAME"
    {"/v1/inference/", {}, 2},              // DeepInfra's
    {"/models/", usual_operations, 2, true} // Hugging Face's; elsewhere it is what is looked up
};

// The letters that segments of the path begin with: bits. It tells at once of most parts that they are not
// in it.
class first_letters {
public:
    explicit first_letters(std::string_view path)
    {
        for (size_t at = path.find('/'); at < path.size() - 1; at = path.find('/', at + 1)) {
            seen_ |= bit(path[at + 1]);
        }
    }
    // `part` begins with a slash.
    bool may_have(std::string_view part) const { return (seen_ & bit(part[1])) != 0; }

private:
    static uint32_t bit(char c) { return uint32_t{1} << (static_cast<uint8_t>(c) & 31); }

    uint32_t seen_ = 0;
};

template <size_t N>
bool has_any(std::string_view path, const first_letters& letters, const std::string_view (&parts)[N])
{
    return std::any_of(std::begin(parts), std::end(parts), [&](std::string_view part) {
        return letters.may_have(part) && has_segments(path, part);
    });
}

// "v1" or "v1beta", below which there is an API, and no model.
bool is_version(std::string_view segment)
{
    return segment.size() >= 2 && segment[0] == 'v' && is_digit(segment[1])
           && (segment.size() == 2 || segment.substr(2) == "beta");
}

std::string_view first_segments(std::string_view text, size_t n)
{
    size_t end = 0;
    for (; n != 0 && end < text.size(); --n) {
        end = std::min(text.find('/', end + 1), text.size());
    }
    return text.substr(0, end);
}

path_model model_at(std::string_view path, const name_place& place)
{
    const size_t at = path.find(place.before);
    if (at == std::string_view::npos) {
        return {};
    }
    std::string_view rest = path.substr(at + place.before.size());
    while (rest.ends_with('/')) {
        rest.remove_suffix(1);
    }
    path_model found;
    // A server that looks for the last one reads another name.
    found.unclear = path.find(place.before, at + 1) != std::string_view::npos;
    found.to_make = place.to_make;
    for (const operation& next : place.operations) {
        if (rest.size() > next.name.size() && rest.ends_with(next.name)) {
            found.name = rest.substr(0, rest.size() - next.name.size());
            found.streams = next.streams;
            break;
        }
        if (rest == next.name.substr(1)) {
            return {};
        }
    }
    if (found.name.empty()) {
        found.name = first_segments(rest, place.segments);
    }
    const std::string_view first = first_segments(found.name, 1);
    return is_version(first) || first == "openapi" ? path_model{} : found;
}

path_model without_version(path_model found)
{
    const size_t at = found.name.rfind("/versions/");
    if (at != std::string_view::npos && found.name.find('/', at + 10) == std::string_view::npos) {
        found.name = found.name.substr(0, at);
    }
    return found;
}

} // namespace

bool has_segments(std::string_view path, std::string_view part)
{
    for (size_t at = path.find(part); at != std::string_view::npos; at = path.find(part, at + 1)) {
        const size_t end = at + part.size();
        if (end == path.size() || path[end] == '/') {
            return true;
        }
    }
    return false;
}

path_model model_in_path(std::string_view path)
{
    const first_letters letters(path);
    for (const name_place& place : name_places) {
        if (!letters.may_have(place.before)) {
            continue;
        }
        if (const path_model found = model_at(path, place); !found.name.empty()) {
            return place.operations.data() == kserve_operations ? without_version(found) : found;
        }
    }
    return {};
}

bool cancels(std::string_view path)
{
    const std::string_view name = last_segment(path);
    return name == "cancel" || name.ends_with(":cancel");
}

hidden_parts hidden_in_path(std::string_view path)
{
    // Requests within: batches, those that Mistral, Vertex, Fireworks, Bedrock and SageMaker have under other
    // names, what samples from a model to judge it, and sessions, in whose settings there are models of their
    // own.
    constexpr std::string_view within[] = {"/batches",
                                           "/batch/jobs",
                                           "/batchpredictionjobs",
                                           "/batchinferencejobs",
                                           "/model-invocation-job",
                                           "/async-invoke",
                                           "/async-invocations",
                                           "/evals",
                                           "/graders",
                                           "/realtime/client_secrets",
                                           "/realtime/sessions",
                                           "/realtime/transcription_sessions",
                                           "/realtime/calls"};
    // What changes which models a server has.
    constexpr std::string_view loads[] = {"/adapters",
                                          "/lora-adapters",
                                          "/lora/load",
                                          "/lora/unload",
                                          "/model/load",
                                          "/model/unload",
                                          "/api/admin",
                                          "/sleep",
                                          "/wake_up",
                                          "/collective_rpc",
                                          "/update_weights",
                                          "/update_weights_from_tensor",
                                          "/update_weights_from_distributed",
                                          "/release_memory_occupation",
                                          "/resume_memory_occupation"};
    const first_letters letters(path);
    const auto is_in = [&](std::string_view part) {
        if (!letters.may_have(part)) {
            return false;
        }
        for (size_t at = path.find(part); at != std::string_view::npos; at = path.find(part, at + 1)) {
            const std::string_view rest = path.substr(at + part.size());
            if (rest.empty() || rest[0] == '/' || rest[0] == ';' || rest[0] == ':') {
                return true;
            }
        }
        return false;
    };
    if (std::any_of(std::begin(within), std::end(within), is_in)) {
        return cancels(path) ? hidden_part::none : hidden_part::all;
    }
    return has_any(path, letters, loads) ? hidden_part::models : hidden_part::none;
}

bool lists_models(std::string_view path)
{
    while (path.ends_with('/')) {
        path.remove_suffix(1);
    }
    const auto is = [](std::string_view text, std::string_view small) {
        return std::equal(text.begin(), text.end(), small.begin(), small.end(),
                          [](char any, char wanted) { return ascii_lower(any) == wanted; });
    };
    const auto ends_in = [&](std::string_view end) {
        return path.size() >= end.size() && is(path.substr(path.size() - end.size()), end);
    };
    return is(last_segment(path), "models") || ends_in("/api/tags") || ends_in("/api/ps");
}

model_need need_of_path(std::string_view path, std::string_view name)
{
    // What is stored under a name of its own, and is for no model by itself.
    constexpr std::string_view stored[] = {"/v1/files",       "/openai/files",     "/v1beta/files",
                                           "/v1/uploads",     "/v1/vector_stores", "/openai/vector_stores",
                                           "/v1/containers",  "/v1/skills",        "/v1/threads",
                                           "/openai/threads", "/v1/conversations", "/openai/conversations"};
    // What may be deleted too.
    constexpr std::string_view looked_up[] = {"/models",        "/responses",  "/batches", "/fine_tuning",
                                              "/threads",       "/assistants", "/evals",   "/vector_stores",
                                              "/videos",        "/containers", "/engines", "/deployments",
                                              "/conversations", "/completions"};
    // Servers that generate there, or change what they have loaded, do so for GET too.
    constexpr std::string_view acting[] = {"realtime",
                                           "health_generate",
                                           "tts",
                                           "tts_stream",
                                           "unload",
                                           "flush_cache",
                                           "get_weights_by_name",
                                           "release_memory_occupation",
                                           "resume_memory_occupation"};

    const first_letters letters(path);
    // Mistral's go on, with the model that they began with; OpenAI's are no more than stored.
    if (const size_t at = path.find("/conversations/"); at != std::string_view::npos) {
        const std::string_view rest = path.substr(at + 15);
        if (rest.find('/') == std::string_view::npos || name == "restart") {
            return model_need::to_make;
        }
    }
    // A run is that of an assistant, which has a model.
    if (has_any(path, letters, stored) && !has_segments(path, "/runs")) {
        return model_need::none;
    }
    if (has_any(path, letters, looked_up)) {
        const std::string_view before = path.substr(0, path.size() - name.size());
        const bool is_stored_chat = name.starts_with("chatcmpl") && before.ends_with("/chat/completions/");
        return is_stored_chat || cancels(path) ? model_need::none : model_need::to_make;
    }
    const bool acts = std::find(std::begin(acting), std::end(acting), name) != std::end(acting);
    return acts ? model_need::always : model_need::to_change;
}

bool has_no_text(std::string_view path, std::string_view name)
{
    constexpr std::string_view parts[] = {"/audio",      "/images",        "/files",       "/uploads",
                                          "/batches",    "/assistants",    "/threads",     "/conversations",
                                          "/evals",      "/vector_stores", "/fine_tuning", "/moderations",
                                          "/containers", "/videos",        "/skills"};
    constexpr std::string_view names[] = {
        "tokenize",     "detokenize",        "apply-template",      "count_tokens",
        "count-tokens", "load_lora_adapter", "unload_lora_adapter", "models"};
    return std::find(std::begin(names), std::end(names), name) != std::end(names)
           || has_any(path, first_letters(path), parts);
}

} // namespace llm
