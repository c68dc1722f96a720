#include "replies.h"

#include <cstdio>

namespace bench {
namespace {

constexpr std::string_view chunk_start =
    R"(data: {"id":"chatcmpl-6f0b1c9d2e3a4f5b8c7d6e5f4a3b2c1d","object":"chat.completion.chunk",)"
    R"("created":1763678400,"model":"bench-model","choices":[)";
constexpr std::string_view role_choice =
    R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]})"
    "\n\n";
constexpr std::string_view content_choice =
    R"({"index":0,"delta":{"content":" gateway"},"logprobs":null,"finish_reason":null}]})"
    "\n\n";
constexpr std::string_view finish_choice =
    R"({"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop","stop_reason":null}]})"
    "\n\n";

std::string number(std::uint64_t value)
{
    return std::to_string(value);
}

std::string usage_object(const tokens& used)
{
    return R"("usage":{"prompt_tokens":)" + number(used.prompt) + R"(,"total_tokens":)"
           + number(used.prompt + used.completion) + R"(,"completion_tokens":)" + number(used.completion)
           + R"(,"prompt_tokens_details":null})";
}

std::string frame(std::string_view event, framing how)
{
    if (how == framing::close) {
        return std::string(event);
    }
    char length[32];
    std::snprintf(length, sizeof length, "%zx\r\n", event.size());
    return length + std::string(event) + "\r\n";
}

std::string event(std::string_view choice)
{
    return std::string(chunk_start) + std::string(choice);
}

std::string expectation(std::size_t bytes, std::size_t events, const tokens& used)
{
    return "X-Bench: " + number(bytes) + " " + number(events) + " " + number(used.prompt) + " "
           + number(used.completion) + "\r\n";
}

reply json_reply(std::string body, const tokens& used)
{
    reply r;
    r.head = "HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Type: application/json\r\nContent-Length: "
             + number(body.size()) + "\r\n" + expectation(body.size(), 0, used) + "\r\n";
    r.tail = std::move(body);
    return r;
}

// The middle of every stream, grown to the longest one asked for. Its bytes never move: replies look at them.
std::string_view repeated_events(std::size_t events, framing how)
{
    constexpr std::size_t room = 64u << 20;
    static std::string cache[2];
    static const std::string one[2] = {frame(event(content_choice), framing::chunked),
                                       frame(event(content_choice), framing::close)};
    const std::size_t which = how == framing::chunked ? 0 : 1;
    std::string& all = cache[which];
    if (all.capacity() < room) {
        all.reserve(room);
    }
    const std::size_t wanted = events * one[which].size();
    if (wanted > room) {
        return {};
    }
    while (all.size() < wanted) {
        all += one[which];
    }
    return std::string_view(all).substr(0, wanted);
}

} // namespace

reply chat_reply(const tokens& used)
{
    return json_reply(
        R"({"id":"chatcmpl-6f0b1c9d2e3a4f5b8c7d6e5f4a3b2c1d","object":"chat.completion",)"
        R"("created":1763678400,"model":"bench-model","choices":[{"index":0,"message":)"
        R"({"role":"assistant","content":"A gateway stands in front of the model servers and knows )"
        R"(who asks for what.","refusal":null,"annotations":null,"audio":null,"function_call":null,)"
        R"("tool_calls":[],"reasoning":null},"logprobs":null,"finish_reason":"stop","stop_reason":)"
        R"(null}],"service_tier":null,"system_fingerprint":null,)"
            + usage_object(used) + R"(,"prompt_logprobs":null})",
        used);
}

reply embeddings_reply(const tokens& used, std::size_t floats)
{
    std::string body =
        R"({"id":"embd-6f0b1c9d2e3a4f5b","object":"list","created":1763678400,"model":"bench-model",)"
        R"("data":[{"index":0,"object":"embedding","embedding":[)";
    for (std::size_t i = 0; i < floats; ++i) {
        body += i == 0 ? "" : ",";
        body += i % 2 == 0 ? "-0.019287109375" : "0.0372314453125";
    }
    body += "]}]," + usage_object(used) + "}";
    return json_reply(std::move(body), used);
}

reply stream_reply(const tokens& used, std::size_t events, framing how)
{
    const std::string first = event(role_choice);
    const std::string last[3] = {event(finish_choice),
                                 std::string(chunk_start) + "]," + usage_object(used) + "}\n\n",
                                 "data: [DONE]\n\n"};
    const std::size_t one = chunk_start.size() + content_choice.size();

    reply r;
    r.repeated = repeated_events(events, how);
    r.step = events == 0 ? 0 : r.repeated.size() / events;
    r.close = how == framing::close;
    std::size_t bytes = first.size() + events * one;
    for (const std::string& e : last) {
        bytes += e.size();
        r.tail += frame(e, how);
    }
    if (how == framing::chunked) {
        r.tail += "0\r\n\r\n";
    }
    r.head = "HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
             + expectation(bytes, events + 4, used)
             + (how == framing::chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "Connection: close\r\n\r\n")
             + frame(first, how);
    return r;
}

reply plain_reply(std::string body)
{
    return json_reply(std::move(body), {});
}

} // namespace bench
