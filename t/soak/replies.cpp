#include "replies.h"

#include "reply_writer.h"

namespace soak {

namespace {

// --- OpenAI's chat and completions

enum class strips { nothing, all, running };

// What the gateway takes out again, by the location's llm_usage_inject.
strips strips_of(const plan& p)
{
    if (p.place == "/off") {
        return strips::nothing;
    }
    return !p.asks_usage                                 ? strips::all
           : p.place == "/continuous" && !p.asks_running ? strips::running
                                                         : strips::nothing;
}

std::string openai_usage(const plan& p, const counts& c)
{
    std::string text = R"("usage":{"prompt_tokens":)" + number(c.prompt);
    // vLLM has the total before the completion.
    const std::string total = R"(,"total_tokens":)" + number(c.prompt + c.completion);
    const std::string completion = R"(,"completion_tokens":)" + number(c.completion);
    text += p.array ? total + completion : completion + total;
    if (p.details) {
        text += R"(,"prompt_tokens_details":{"cached_tokens":)" + number(c.cached)
                + R"(},"completion_tokens_details":{"reasoning_tokens":)" + number(c.reasoning) + "}";
    }
    return text + "}";
}

std::string openai_chunk(const plan& p, const std::string& choices, const std::string& usage)
{
    return R"({"id":"c","object":")"
           + std::string(p.speaks == dialect::chat ? "chat.completion.chunk" : "text_completion")
           + R"(","created":1,"model":")" + p.model() + R"(","choices":[)" + choices + "]"
           + (usage.empty() ? "" : "," + usage) + "}";
}

std::string openai_choice(const plan& p, const std::string& text, const char* finish)
{
    return (p.speaks == dialect::chat
                ? R"({"index":0,"delta":{)" + (text.empty() ? "" : R"("content":")" + text + '"') + "}"
                : R"({"index":0,"text":")" + text + '"')
           + R"(,"finish_reason":)" + finish + "}";
}

void openai_stream(reply_writer& w, std::string_view body)
{
    const plan& p = w.of();
    const strips goes = strips_of(p);
    const bool asked = body.find(R"("include_usage":true)") != body.npos;
    const bool running =
        body.find(R"("continuous_usage_stats":true)") != body.npos && p.tells == telling::as_asked;
    const std::string no_usage = asked && p.tells == telling::last_only ? R"("usage":null)" : "";

    const auto send = [&](const std::string& choice, const counts* c, bool finishes) {
        const std::string usage = c ? openai_usage(p, *c) : no_usage;
        const bool keeps = goes == strips::nothing || (goes == strips::running && finishes);
        w.event(openai_chunk(p, choice, usage), openai_chunk(p, choice, keeps ? usage : ""));
    };
    if (p.speaks == dialect::chat) {
        w.event(openai_chunk(
            p, R"({"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null})", ""));
    }
    while (w.shows_more()) {
        const std::string text = w.show();
        const counts c = w.generated();
        if (running) {
            w.tell(c);
        }
        send(openai_choice(p, text, "null"), running ? &c : nullptr, false);
    }
    if (w.breaks()) {
        w.event(R"({"error": {"message": "broken", "type": "server_error", "code": 500}})");
        return;
    }
    const bool with_choice = p.tells == telling::always;
    if (running || with_choice) {
        w.tell(p.used);
    }
    send(openai_choice(p, "", p.cut_short ? R"("length")" : R"("stop")"),
         running || with_choice ? &p.used : nullptr, true);
    if (asked && (p.tells == telling::as_asked || p.tells == telling::last_only)) {
        w.tell(p.used);
        const std::string chunk = openai_chunk(p, "", openai_usage(p, p.used));
        if (goes == strips::all) {
            w.hidden_event(chunk);
        } else {
            w.event(chunk);
        }
    }
    w.event("[DONE]");
}

std::string openai_json(reply_writer& w)
{
    const plan& p = w.of();
    const std::string text = w.show_all();
    const bool tells = p.tells != telling::never;
    if (tells) {
        w.tell(p.used);
    }
    const bool chat = p.speaks == dialect::chat;
    return R"({"id":"c","object":")" + std::string(chat ? "chat.completion" : "text_completion")
           + R"(","created":1,"model":")" + p.model() + R"(","choices":[{"index":0,)"
           + (chat ? R"("message":{"role":"assistant","content":")" + text + "\"}"
                   : R"("text":")" + text + '"')
           + R"(,"finish_reason":)" + (p.cut_short ? R"("length")" : R"("stop")") + "}]"
           + (tells ? "," + openai_usage(p, p.used) : "") + "}";
}

// --- OpenAI's responses

std::string response_object(const plan& p, const char* status, const std::string& text, bool tells)
{
    const counts& c = p.used;
    std::string usage = "null";
    if (tells) {
        usage = R"({"input_tokens":)" + number(c.prompt) + R"(,"input_tokens_details":{"cached_tokens":)"
                + number(c.cached) + R"(},"output_tokens":)" + number(c.completion)
                + R"(,"output_tokens_details":{"reasoning_tokens":)" + number(c.reasoning)
                + R"(},"total_tokens":)" + number(c.prompt + c.completion) + "}";
    }
    return R"({"id":"r","object":"response","model":")" + p.model() + R"(","status":")" + status
           + R"(","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":")"
           + text + R"("}]}],"usage":)" + usage + "}";
}

void responses_stream(reply_writer& w)
{
    const plan& p = w.of();
    const auto send = [&](const char* type, const std::string& rest) {
        w.event(type, R"({"type":")" + std::string(type) + R"(",)" + rest + "}");
    };
    send("response.created", R"("response":{"id":"r","status":"in_progress","output":[],"usage":null})");
    std::string all;
    while (w.shows_more()) {
        const std::string text = w.show();
        all += text;
        send("response.output_text.delta", R"("item_id":"i","output_index":0,"delta":")" + text + '"');
    }
    if (w.breaks()) {
        send("error", R"("code":"server_error","message":"broken","param":null)");
        return;
    }
    send("response.output_text.done", R"("item_id":"i","output_index":0,"text":")" + all + '"');
    const bool tells = p.tells != telling::never;
    if (tells) {
        w.tell(p.used);
    }
    const std::string status = p.cut_short ? "incomplete" : "completed";
    send(("response." + status).c_str(), R"("response":)" + response_object(p, status.c_str(), all, tells));
}

std::string responses_json(reply_writer& w)
{
    const plan& p = w.of();
    const bool tells = p.tells != telling::never;
    const std::string text = w.show_all();
    if (tells) {
        w.tell(p.used);
    }
    return response_object(p, p.cut_short ? "incomplete" : "completed", text, tells);
}

// --- Anthropic's messages

std::string messages_input(const plan& p)
{
    const counts& c = p.used;
    std::string text = R"("input_tokens":)" + number(c.prompt - c.cached - c.cache_write);
    if (p.details) {
        text += R"(,"cache_creation_input_tokens":)" + number(c.cache_write)
                + R"(,"cache_read_input_tokens":)" + number(c.cached);
    }
    return text;
}

std::string messages_begin(const plan& p)
{
    return R"("id":"m","type":"message","role":"assistant","model":")" + p.model() + '"';
}

void messages_stream(reply_writer& w)
{
    const plan& p = w.of();
    const auto send = [&](const char* type, const std::string& rest) {
        w.event(type, R"({"type":")" + std::string(type) + '"' + (rest.empty() ? "" : "," + rest) + "}");
    };
    const bool tells = p.tells != telling::never;
    if (tells) {
        counts c = p.used;
        c.completion = 1;
        c.reasoning = 0;
        w.tell(c);
    }
    send("message_start", R"("message":{)" + messages_begin(p) + R"(,"content":[],"stop_reason":null)"
                              + (tells ? R"(,"usage":{)" + messages_input(p) + R"(,"output_tokens":1})" : "")
                              + "}");
    send("content_block_start", R"("index":0,"content_block":{"type":"text","text":""})");
    send("ping", "");
    while (w.shows_more()) {
        send("content_block_delta", R"("index":0,"delta":{"type":"text_delta","text":")" + w.show() + "\"}");
    }
    if (w.breaks()) {
        send("error", R"("error":{"type":"overloaded_error","message":"broken"})");
        return;
    }
    send("content_block_stop", R"("index":0)");
    if (tells) {
        w.tell(p.used);
    }
    send("message_delta",
         R"("delta":{"stop_reason":")" + std::string(p.cut_short ? "max_tokens" : "end_turn") + "\"}"
             + (tells ? R"(,"usage":{"output_tokens":)" + number(p.used.completion) + "}" : ""));
    send("message_stop", "");
}

std::string messages_json(reply_writer& w)
{
    const plan& p = w.of();
    const std::string text = w.show_all();
    const bool tells = p.tells != telling::never;
    if (tells) {
        w.tell(p.used);
    }
    return "{" + messages_begin(p) + R"(,"content":[{"type":"text","text":")" + text
           + R"("}],"stop_reason":")" + (p.cut_short ? "max_tokens" : "end_turn") + '"'
           + (tells ? R"(,"usage":{)" + messages_input(p) + R"(,"output_tokens":)" + number(p.used.completion)
                          + "}"
                    : "")
           + "}";
}

} // namespace

script reply_to(const plan& p, std::string_view body)
{
    reply_writer w(p);
    switch (p.speaks) {
    case dialect::chat:
    case dialect::completions:
        if (p.stream) {
            w.begin_events();
            openai_stream(w, body);
        } else {
            w.json(openai_json(w));
        }
        break;
    case dialect::responses:
        if (p.stream) {
            w.begin_events();
            responses_stream(w);
        } else {
            w.json(responses_json(w));
        }
        break;
    case dialect::messages:
        if (p.stream) {
            w.begin_events();
            messages_stream(w);
        } else {
            w.json(messages_json(w));
        }
        break;
    default:
        write_native(w);
        break;
    }
    return w.take();
}

} // namespace soak
