#include "requests.h"

#include <cstdio>

namespace soak {

namespace {

std::string number(std::size_t n)
{
    return std::to_string(n);
}

std::string path_of(const plan& p)
{
    switch (p.speaks) {
    case dialect::chat:
        return "/v1/chat/completions";
    case dialect::completions:
        return "/v1/completions";
    case dialect::responses:
        return "/v1/responses";
    case dialect::messages:
        return "/v1/messages";
    case dialect::ollama_chat:
        return "/api/chat";
    case dialect::ollama_generate:
        return "/api/generate";
    case dialect::gemini:
        return "/v1beta/models/" + p.model()
               + (!p.stream ? ":generateContent"
                  : p.array ? ":streamGenerateContent"
                            : ":streamGenerateContent?alt=sse");
    case dialect::llama_cpp:
        return "/completion";
    case dialect::tgi:
        return p.stream ? "/generate_stream" : "/generate";
    case dialect::sglang:
        return "/generate";
    case dialect::embeddings:
        return "/v1/embeddings";
    case dialect::rerank:
        return "/v1/rerank";
    case dialect::ollama_embed:
        return "/api/embed";
    }
    return {};
}

std::string stream_options(const plan& p)
{
    if (!p.asks_usage) {
        return {};
    }
    return std::string(R"(,"stream_options":{"include_usage":true)")
           + (p.asks_running ? R"(,"continuous_usage_stats":true})" : "}");
}

// The members of the body after its model.
std::string members_of(const plan& p)
{
    const std::string text = '"' + std::string(p.prompt_bytes, 'p') + '"';
    const std::string messages = R"("messages":[{"role":"user","content":)" + text + "}]";
    const std::string streams = p.stream ? R"(,"stream":true)" : "";
    const std::string most = number(p.max_tokens);
    switch (p.speaks) {
    case dialect::chat:
        return messages + R"(,"max_tokens":)" + most + streams + (p.stream ? stream_options(p) : "");
    case dialect::completions:
        return R"("prompt":)" + text + R"(,"max_tokens":)" + most + streams
               + (p.stream ? stream_options(p) : "");
    case dialect::responses:
        return R"("input":)" + text + R"(,"max_output_tokens":)" + most + streams;
    case dialect::messages:
        return R"("max_tokens":)" + most + "," + messages + streams;
    case dialect::ollama_chat:
    case dialect::ollama_generate: // stream where nothing is said
        return (p.speaks == dialect::ollama_chat ? messages : R"("prompt":)" + text)
               + R"(,"options":{"num_predict":)" + most + "}" + (p.stream ? "" : R"(,"stream":false)");
    case dialect::gemini:
        return R"("contents":[{"role":"user","parts":[{"text":)" + text
               + R"(}]}],"generationConfig":{"maxOutputTokens":)" + most + "}";
    case dialect::llama_cpp:
        return R"("prompt":)" + text + R"(,"n_predict":)" + most + streams;
    case dialect::tgi:
        return R"("inputs":)" + text + R"(,"parameters":{"details":true,"max_new_tokens":)" + most + "}";
    case dialect::sglang:
        return R"("text":)" + text + R"(,"sampling_params":{"max_new_tokens":)" + most + "}" + streams;
    case dialect::embeddings:
    case dialect::ollama_embed:
        return R"("input":)" + text;
    case dialect::rerank:
        return R"("query":"which?","documents":[)" + text + "]";
    }
    return {};
}

std::string body_of(const plan& p)
{
    std::string body = p.speaks == dialect::gemini ? "{" : R"({"model":")" + p.model() + R"(",)";
    body += members_of(p);
    return body + (p.meets == fate::bad_body ? ']' : '}');
}

std::string key_header(const plan& p)
{
    const char* const fixed = row_of(p.meets).secret;
    const std::string secret = fixed ? fixed : "sk-k" + std::to_string(p.who[by_key]);
    if (secret.empty()) {
        return {};
    }
    return (p.speaks == dialect::messages ? "x-api-key: "
            : p.speaks == dialect::gemini ? "x-goog-api-key: "
                                          : "Authorization: Bearer ")
           + secret + "\r\n";
}

} // namespace

request_text request_of(const plan& p, std::string_view id)
{
    const std::string body = body_of(p);
    const bool chunked = p.meets == fate::too_large_chunked;
    request_text out;
    out.bytes = "POST " + p.place + path_of(p) + " HTTP/1.1\r\nHost: soak\r\n" + key_header(p)
                + "X-Real-IP: 10.1.0." + std::to_string(p.who[by_address]) + "\r\nX-Test: " + std::string(id)
                + "\r\nContent-Type: application/json\r\n"
                + (chunked ? "Transfer-Encoding: chunked" : "Content-Length: " + number(body.size()))
                + "\r\n\r\n";
    out.head = out.bytes.size();
    out.body = body.size();
    if (chunked) {
        char size[24];
        std::snprintf(size, sizeof size, "%zx\r\n", body.size());
        out.bytes += size + body + "\r\n0\r\n\r\n";
    } else {
        out.bytes += body;
    }
    return out;
}

} // namespace soak
