// Replies of Ollama's, Google's, llama.cpp's, TGI's and SGLang's own APIs, and those without text.

#include "reply_writer.h"

namespace soak {

namespace {

// --- Ollama

std::string ollama_line(const plan& p, const std::string& text, const std::string& rest)
{
    return R"({"model":")" + p.model() + R"(","created_at":"2026-01-01T00:00:00Z",)"
           + (p.speaks == dialect::ollama_chat ? R"("message":{"role":"assistant","content":")" + text + "\"}"
                                               : R"("response":")" + text + '"')
           + "," + rest + "}";
}

std::string ollama_end(reply_writer& w)
{
    const plan& p = w.of();
    w.tell_completion(p.used.completion);
    std::string prompt;
    if (!p.hides_prompt) {
        w.tell_prompt(p.used.prompt);
        prompt = R"("prompt_eval_count":)" + number(p.used.prompt) + ",";
    }
    return R"("done":true,"done_reason":"stop",)"
           + std::string(p.speaks == dialect::ollama_generate ? R"("context":[1,2,3],)" : "")
           + R"("total_duration":9,)" + prompt + R"("prompt_eval_duration":1,"eval_count":)"
           + number(p.used.completion) + R"(,"eval_duration":5)";
}

void write_ollama(reply_writer& w)
{
    const plan& p = w.of();
    if (!p.stream) {
        const std::string text = w.show_all();
        const std::string end = ollama_end(w);
        w.json(ollama_line(p, text, end));
        return;
    }
    w.begin_lines();
    while (w.shows_more()) {
        w.line(ollama_line(p, w.show(), R"("done":false)"));
    }
    if (w.breaks()) {
        w.line(R"({"error":"broken"})");
        return;
    }
    const std::string end = ollama_end(w);
    w.line(ollama_line(p, "", end));
}

// --- Google's

std::string gemini_reply(reply_writer& w, const std::string& text, bool last)
{
    const plan& p = w.of();
    const counts c = last ? p.used : w.generated();
    w.tell(c);
    return R"({"candidates":[{"content":{"parts":[{"text":")" + text + R"("}],"role":"model"})"
           + (last ? R"(,"finishReason":")" + std::string(p.cut_short ? "MAX_TOKENS" : "STOP") + '"' : "")
           + R"(,"index":0}],"usageMetadata":{"promptTokenCount":)" + number(c.prompt)
           + (c.cached ? R"(,"cachedContentTokenCount":)" + number(c.cached) : "")
           + R"(,"candidatesTokenCount":)" + number(c.completion - c.reasoning)
           + (c.reasoning ? R"(,"thoughtsTokenCount":)" + number(c.reasoning) : "") + R"(,"totalTokenCount":)"
           + number(c.prompt + c.completion) + R"(},"modelVersion":")" + p.model() + "\"}";
}

void write_gemini(reply_writer& w)
{
    const plan& p = w.of();
    if (!p.stream) {
        const std::string text = w.show_all();
        w.json(gemini_reply(w, text, true));
        return;
    }
    const auto send = [&](const std::string& text, const char* before) {
        if (p.array) {
            w.line(before + text);
        } else {
            w.event(text);
        }
    };
    p.array ? w.begin_array() : w.begin_events();
    const char* before = "[";
    while (w.shows_more()) {
        const std::string text = w.show();
        send(gemini_reply(w, text, false), before);
        before = ",";
    }
    if (w.breaks()) {
        send(R"({"error":{"code":500,"message":"broken","status":"INTERNAL"}})", before);
    } else {
        send(gemini_reply(w, "", true), before);
    }
    if (p.array) {
        w.line("]");
    }
}

// --- llama.cpp

std::string llama_counts(reply_writer& w, const counts& c)
{
    w.tell(c);
    return R"(,"tokens_predicted":)" + number(c.completion) + R"(,"tokens_evaluated":)" + number(c.prompt);
}

void write_llama_cpp(reply_writer& w)
{
    const plan& p = w.of();
    const auto last = [&](const std::string& text) {
        return R"({"index":0,"content":")" + text + R"(","tokens":[],"id_slot":0,"stop":true,"model":")"
               + p.model() + '"' + llama_counts(w, p.used)
               + R"(,"generation_settings":{"n_predict":5},"prompt":"of the client","stop_type":"eos"})";
    };
    if (!p.stream) {
        const std::string text = w.show_all();
        w.json(last(text));
        return;
    }
    w.begin_events();
    while (w.shows_more()) {
        const std::string text = w.show();
        const std::string running = p.details ? llama_counts(w, w.generated()) : "";
        w.event(R"({"index":0,"content":")" + text + R"(","tokens":[7],"stop":false,"id_slot":0)" + running
                + "}");
    }
    w.event(w.breaks() ? R"({"error":{"code":500,"message":"broken","type":"server_error"}})" : last(""));
}

// --- TGI

std::string tgi_details(reply_writer& w)
{
    const plan& p = w.of();
    w.tell(p.used);
    return R"({"finish_reason":"length","generated_tokens":)" + number(p.used.completion)
           + R"(,"seed":null,"input_length":)" + number(p.used.prompt) + "}";
}

void write_tgi(reply_writer& w)
{
    const plan& p = w.of();
    if (!p.stream) {
        const std::string text = w.show_all();
        const std::string details = tgi_details(w);
        if (p.headers) {
            w.more_head("x-prompt-tokens: " + number(p.used.prompt));
            w.more_head("x-generated-tokens: " + number(p.used.completion));
        }
        w.json(R"({"generated_text":")" + text + '"' + (p.headers ? "" : R"(,"details":)" + details) + "}");
        return;
    }
    w.begin_events();
    for (unsigned n = 1; w.shows_more(); n++) {
        const std::string text = w.show();
        const bool ends = !w.shows_more() && !w.breaks();
        const std::string details = ends ? tgi_details(w) : "null";
        w.event(R"({"index":)" + number(n) + R"(,"token":{"id":2,"text":")" + text
                + R"(","logprob":-1.0,"special":false},"generated_text":)"
                + (ends ? '"' + w.shown() + '"' : "null") + R"(,"details":)" + details + "}");
    }
    if (w.breaks()) {
        w.event(R"({"error":"broken","error_type":"generation"})");
    }
}

// --- SGLang

void write_sglang(reply_writer& w)
{
    const plan& p = w.of();
    const auto reply = [&](const counts& c, const char* finish) {
        w.tell(c);
        return R"({"text":")" + w.shown() + R"(","meta_info":{"id":"x","finish_reason":)" + finish
               + R"(,"prompt_tokens":)" + number(c.prompt) + R"(,"completion_tokens":)" + number(c.completion)
               + R"(,"cached_tokens":)" + number(c.cached) + "}}";
    };
    if (!p.stream) {
        w.show_all();
        w.json(reply(p.used, R"({"type":"stop"})"));
        return;
    }
    w.begin_events();
    while (w.shows_more()) {
        w.show();
        w.event(reply(w.generated(), w.shows_more() ? "null" : R"({"type":"stop"})"));
    }
    if (w.breaks()) {
        w.event(R"({"error": {"object": "error", "message": "broken", "code": 500}})");
        return;
    }
    w.event("[DONE]");
}

// --- without text

void write_without_text(reply_writer& w)
{
    const plan& p = w.of();
    counts c = p.used;
    c.cached = 0;
    const bool tells = p.tells != telling::never && !(p.speaks == dialect::ollama_embed && p.hides_prompt);
    if (tells) {
        w.tell(c);
    }
    const std::string usage = !tells ? ""
                                     : R"("usage":{"prompt_tokens":)" + number(c.prompt)
                                           + R"(,"total_tokens":)" + number(c.prompt) + "},";
    const std::string model = R"("model":")" + p.model() + '"';
    if (p.speaks == dialect::rerank) {
        w.json(R"({"id":"r",)" + model + "," + usage
               + R"("results":[{"index":0,"document":{"text":"the usage"},"relevance_score":0.5}]})");
    } else if (p.speaks == dialect::ollama_embed) {
        w.json("{" + model + R"(,"embeddings":[[0.25,-0.5,0.125]],"total_duration":9,"load_duration":1)"
               + (tells ? R"(,"prompt_eval_count":)" + number(c.prompt) : "") + "}");
    } else { // OpenAI has the usage behind the data, llama.cpp before it
        w.json(R"({"object":"list",)" + (p.array ? usage : "")
               + R"("data":[{"object":"embedding","index":0,"embedding":[0.25,-0.5,0.125]}],)"
               + (p.array ? "" : usage) + model + "}");
    }
}

} // namespace

void write_native(reply_writer& w)
{
    switch (w.of().speaks) {
    case dialect::ollama_chat:
    case dialect::ollama_generate:
        write_ollama(w);
        break;
    case dialect::gemini:
        write_gemini(w);
        break;
    case dialect::llama_cpp:
        write_llama_cpp(w);
        break;
    case dialect::tgi:
        write_tgi(w);
        break;
    case dialect::sglang:
        write_sglang(w);
        break;
    default:
        write_without_text(w);
        break;
    }
}

} // namespace soak
