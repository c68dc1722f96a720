// What the pretended model server says, in the words of vLLM.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

enum class framing { chunked, close };

// What a stream says of usage: nothing, in an event of its own before the end, the same with `"usage":null`
// in the others, or in every event.
enum class usage_form { none, final, final_and_null, continuous };

struct tokens {
    std::uint64_t prompt = 0;
    std::uint64_t completion = 0;
};

// One reply as bytes: head, then `repeated` (shared by all replies, may be empty), then tail. The first
// event of a stream is part of the head. `step` is the size of one repeated event as framed.
struct reply {
    std::string head;
    std::string_view repeated;
    std::string tail;
    std::size_t step = 0;
    bool close = false;

    std::size_t size() const { return head.size() + repeated.size() + tail.size(); }
};

// The header X-Bench of every reply tells the client what to expect: bytes and events of the payload, tokens.
// Of a stream: as if it had no usage, since the clients here do not ask for it.
// The nth: they differ in what replies of one server differ in.
reply chat_reply(const tokens& used, std::uint64_t nth);
reply embeddings_reply(const tokens& used, std::size_t floats);
reply stream_reply(const tokens& used, std::uint64_t nth, std::size_t events, framing how, usage_form form);
reply plain_reply(std::string body);

} // namespace bench
