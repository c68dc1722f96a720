#include "path_model.h"

#include "core/base/bytes.h"

#include <algorithm>
#include <iterator>
#include <span>

namespace llm {

namespace {

struct operation {
    std::string_view name;
    bool streams = false;
};

// What may follow a name that may have slashes of its own. A longer one comes before its end.
constexpr operation azure_operations[] = {
    {"/extensions/chat/completions"},
    {"/chat/completions"},
    {"/completions"},
    {"/embeddings"},
    {"/responses"},
    {"/images/generations"},
    {"/images/edits"},
    {"/images/variations"},
    {"/audio/transcriptions"},
    {"/audio/translations"},
    {"/audio/speech"},
    {"/realtime"},
    {"/rerank"},
};
constexpr operation bedrock_operations[] = {
    {"/invoke"},       {"/invoke-with-response-stream", true},
    {"/converse"},     {"/converse-stream", true},
    {"/async-invoke"}, {"/invoke-with-bidirectional-stream", true},
    {"/count-tokens"},
};
constexpr operation kserve_operations[] = {{"/infer"}, {"/generate"}, {"/generate_stream", true}};
constexpr operation repository_operations[] = {{"/load"}, {"/unload"}};

// Where `part`, which begins with a slash and is in small letters, stands in the path; some servers, Azure's
// among them, take capitals for the same.
size_t find_part(std::string_view path, std::string_view part, size_t from = 0)
{
    const auto same = [](char small, char any) { return small == ascii_lower(any); };
    for (size_t at = path.find('/', from); at != std::string_view::npos; at = path.find('/', at + 1)) {
        const std::string_view there = path.substr(at, part.size());
        if (std::equal(part.begin(), part.end(), there.begin(), there.end(), same)) {
            return at;
        }
    }
    return std::string_view::npos;
}

// The name between `before`, which begins and ends with a slash, and an operation at the end of the path. It
// may be that it is no operation that is known: then it is one segment, if `any`.
path_model model_between(std::string_view path, std::string_view before,
                         std::span<const operation> operations, bool any)
{
    const size_t at = find_part(path, before);
    if (at == std::string_view::npos) {
        return {};
    }
    std::string_view rest = path.substr(at + before.size());
    while (rest.ends_with('/')) {
        rest.remove_suffix(1);
    }
    path_model found;
    // A server that looks for the last one reads another name.
    found.unclear = find_part(path, before, at + 1) != std::string_view::npos;
    for (const operation& next : operations) {
        if (rest.size() > next.name.size() && rest.ends_with(next.name)) {
            found.name = rest.substr(0, rest.size() - next.name.size());
            found.streams = next.streams;
            return found;
        }
    }
    if (!any) {
        return {};
    }
    found.name = rest.substr(0, rest.find('/'));
    return found;
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
    for (const std::string_view before : {"/deployments/", "/engines/"}) {
        if (const path_model found = model_between(path, before, azure_operations, true);
            !found.name.empty()) {
            return found;
        }
    }
    if (const path_model found = model_between(path, "/model/", bedrock_operations, false);
        !found.name.empty()) {
        return found;
    }
    if (const path_model found = model_between(path, "/v2/repository/models/", repository_operations, false);
        !found.name.empty()) {
        return found;
    }
    return without_version(model_between(path, "/v2/models/", kserve_operations, false));
}

bool cancels(std::string_view path)
{
    const std::string_view name = last_segment(path);
    return name == "cancel" || name.ends_with(":cancel");
}

hidden_parts hidden_in_path(std::string_view path)
{
    // Requests within: batches, those that Mistral, Vertex, Fireworks and Bedrock have under other names,
    // what samples from a model to judge it, and sessions, in whose settings there are models of their own.
    constexpr std::string_view parts[] = {"/batches",
                                          "/batch/jobs",
                                          "/batchpredictionjobs",
                                          "/batchinferencejobs",
                                          "/model-invocation-job",
                                          "/async-invoke",
                                          "/evals",
                                          "/graders",
                                          "/realtime/client_secrets",
                                          "/realtime/sessions",
                                          "/realtime/transcription_sessions",
                                          "/realtime/calls"};
    const auto is_in = [path](std::string_view part) {
        for (size_t at = find_part(path, part); at != std::string_view::npos;
             at = find_part(path, part, at + 1)) {
            const std::string_view rest = path.substr(at + part.size());
            if (rest.empty() || rest[0] == '/' || rest[0] == ';' || rest[0] == ':') {
                return true;
            }
        }
        return false;
    };
    const bool has = !cancels(path) && std::any_of(std::begin(parts), std::end(parts), is_in);
    return has ? hidden_part::all : hidden_part::none;
}

bool lists_models(std::string_view path)
{
    while (path.ends_with('/')) {
        path.remove_suffix(1);
    }
    const std::string_view name = last_segment(path);
    return name == "models" || path.ends_with("/api/tags") || path.ends_with("/api/ps");
}

model_need need_of_path(std::string_view path, std::string_view name)
{
    // What is stored under a name of its own, or is about the server.
    constexpr std::string_view stored[] = {"/v1/files", "/openai/files", "/v1beta/files", "/v1/uploads"};
    constexpr std::string_view looked_up[] = {"/models",        "/responses",  "/batches", "/fine_tuning",
                                              "/vector_stores", "/assistants", "/threads", "/evals",
                                              "/conversations", "/containers", "/videos",  "/deployments",
                                              "/engines",       "/completions"};
    constexpr std::string_view about[] = {"",        "usage",          "version",        "health",
                                          "healthz", "ping",           "props",          "slots",
                                          "metrics", "info",           "server_info",    "get_server_info",
                                          "load",    "get_model_info", "tokenizer_info", "lora-adapters"};

    auto in = [path](std::string_view part) { return has_segments(path, part); };
    if (std::any_of(std::begin(stored), std::end(stored), in)) {
        return model_need::none;
    }
    if (std::any_of(std::begin(looked_up), std::end(looked_up), in)) {
        return cancels(path) ? model_need::none : model_need::to_make;
    }
    const bool is_about = std::find(std::begin(about), std::end(about), name) != std::end(about);
    return is_about ? model_need::to_make : model_need::always;
}

} // namespace llm
