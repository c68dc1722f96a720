#include "replies.h"

#include <cstdio>
#include <iterator>

namespace bench {
namespace {

// Streams differ in their ids and times, in so many ways.
constexpr std::uint64_t stream_kinds = 8;
constexpr std::string_view role_choice =
    R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}])";
// All events of a stream have one size.
constexpr std::string_view words[] = {" gateway", " servers", " counted", " nothing", " between", " because"};
constexpr std::string_view finish_choice =
    R"({"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop","stop_reason":null}])";
constexpr std::string_view chunk_end = "}\n\n";
// Tokens in the usage of the nth event are so many more, so that all such events have one size.
constexpr std::uint64_t first_running = 10000;

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

std::string running_usage(usage_form form, std::uint64_t nth)
{
    switch (form) {
    case usage_form::final_and_null:
        return R"(,"usage":null)";
    case usage_form::continuous:
        return "," + usage_object({10, first_running + nth});
    default:
        return {};
    }
}

std::string unique_id(std::uint64_t nth)
{
    char id[42];
    std::snprintf(id, sizeof id, "chatcmpl-%016llx%016llx",
                  static_cast<unsigned long long>(nth * 0x9e3779b97f4a7c15u),
                  static_cast<unsigned long long>(nth * 0xc2b2ae3d27d4eb4fu));
    return id;
}

std::string chunk_start(std::uint64_t kind)
{
    return R"(data: {"id":")" + unique_id(kind + 1) + R"(","object":"chat.completion.chunk","created":)"
           + number(1763678400 + kind) + R"(,"model":"bench-model","choices":[)";
}

std::string event(std::uint64_t kind, std::string_view choice, usage_form form, std::uint64_t nth)
{
    return chunk_start(kind) + std::string(choice) + running_usage(form, nth) + std::string(chunk_end);
}

std::string content_event(std::uint64_t kind, usage_form form, std::uint64_t nth)
{
    const std::string choice = R"({"index":0,"delta":{"content":")"
                               + std::string(words[nth % std::size(words)])
                               + R"("},"logprobs":null,"finish_reason":null}])";
    return event(kind, choice, form, nth);
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
std::string_view repeated_events(std::uint64_t kind, std::size_t events, framing how, usage_form form,
                                 std::size_t& step)
{
    constexpr std::size_t room = 16u << 20;
    static std::string cache[2][4][stream_kinds];
    static std::size_t grown[2][4][stream_kinds];
    const std::size_t framed = how == framing::chunked ? 0 : 1;
    std::string& all = cache[framed][static_cast<std::size_t>(form)][kind];
    std::size_t& have = grown[framed][static_cast<std::size_t>(form)][kind];
    if (all.capacity() < room) {
        all.reserve(room);
    }
    step = frame(content_event(kind, form, 0), how).size();
    if (events * step > room) {
        return {};
    }
    for (; have < events; ++have) {
        all += frame(content_event(kind, form, have), how);
    }
    return std::string_view(all).substr(0, events * step);
}

} // namespace

reply chat_reply(const tokens& used, std::uint64_t nth)
{
    constexpr std::string_view text =
        "A gateway stands in front of the model servers and knows who asks for what. It counts what "
        "each of them uses, and says no to whom it does not know.";
    // 74 characters on average.
    const std::string_view content = text.substr(0, 1 + nth * 37 % text.size());
    return json_reply(
        R"({"id":")" + unique_id(nth) + R"(","object":"chat.completion","created":)"
            + number(1763678400 + nth / 1000)
            + R"(,"model":"bench-model","choices":[{"index":0,"message":{"role":"assistant","content":")"
            + std::string(content)
            + R"(","refusal":null,"annotations":null,"audio":null,"function_call":null,)"
              R"("tool_calls":[],"reasoning":null},"logprobs":null,"finish_reason":")"
            + (nth % 4 == 0 ? "length" : "stop")
            + R"(","stop_reason":null}],"service_tier":null,"system_fingerprint":null,)" + usage_object(used)
            + R"(,"prompt_logprobs":null})",
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

reply stream_reply(const tokens& used, std::uint64_t nth, std::size_t events, framing how, usage_form form)
{
    const std::uint64_t kind = nth % stream_kinds;
    const std::string first = event(kind, role_choice, form, 0);
    std::string last[] = {event(kind, finish_choice, form, events), {}, "data: [DONE]\n\n"};
    std::size_t bytes = 0;
    for (const std::string_view choice : {role_choice, finish_choice}) {
        bytes += event(kind, choice, usage_form::none, 0).size();
    }
    bytes += events * content_event(kind, usage_form::none, 0).size() + last[2].size();
    if (form != usage_form::none) {
        last[1] = chunk_start(kind) + "]," + usage_object(used) + std::string(chunk_end);
    }

    reply r;
    r.repeated = repeated_events(kind, events, how, form, r.step);
    r.close = how == framing::close;
    for (const std::string& e : last) {
        r.tail += e.empty() ? "" : frame(e, how);
    }
    if (how == framing::chunked) {
        r.tail += "0\r\n\r\n";
    }
    r.head = "HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
             + expectation(bytes, events + 3, used)
             + (how == framing::chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "Connection: close\r\n\r\n")
             + frame(first, how);
    return r;
}

reply plain_reply(std::string body)
{
    return json_reply(std::move(body), {});
}

} // namespace bench
