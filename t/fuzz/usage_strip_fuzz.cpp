// A stream in which the gateway has asked for usage must reach the client as if it had not, in any pieces. In
// single bytes the scanner reads all of it; in larger pieces most events are passed over, or their usage is
// read alone.
//
// The input first says, a byte each, what events there are, in two forms: as a server sends them unasked, and
// as it sends them asked. What is left of it is a stream of its own, and makes a plain_stream: both must come
// out the same in any pieces.
#include "core/reply/usage.h"

#include "pieces.h"
#include "plain_events.h"
#include "plain_stream.h"

#include <cstdlib>
#include <span>
#include <string>

namespace {

using namespace llm;

struct two_forms {
    std::string unasked;
    std::string asked;
    size_t event_begin = 0; // in `unasked`, of the event whose data is still to come
};

void both(two_forms& to, std::string_view text)
{
    to.unasked += text;
    to.asked += text;
}

constexpr std::string_view usages[] = {
    "null",
    R"({"prompt_tokens":7,"completion_tokens":10,"total_tokens":17})",
    R"({"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":4,"x":[{"usage":1},"}"]}})",
    "{ }",
    "\"none\"",
    "-1.5e3",
};
constexpr std::string_view members[] = {
    R"("id":"c")",
    R"("choices":[{"index":0,"delta":{"content":"\"usage\":1"}}])",
    R"("choices" : [ {"index":1,"usage":{"prompt_tokens":1}} , {} ])",
    R"("usagf":null)",
    R"("metrics":{"usage":{"prompt_tokens":1}})",
    R"("created":12)",
};
// Of these, a choice, or more than usage and what names the reply: an event with one of them stays.
constexpr uint32_t members_that_stay = 1u << 1 | 1u << 2 | 1u << 4;

// One event, whose parts are chosen by `bits`, or a line of the next one. Returns false if that. An event
// that is there only because it was asked for goes with its lines.
bool add_part(two_forms& to, uint32_t bits)
{
    const auto next = [&bits](uint32_t below) {
        const uint32_t n = bits % below;
        bits /= below;
        return n;
    };
    switch (next(8)) {
    case 0:
        if (next(2) == 0) {
            both(to, "id: 19\n");
            return false;
        }
        both(to, ": ping\n\n");
        return true;
    case 1:
        to.asked += "data: {\"choices\":[],\"usage\":" + std::string(usages[1 + next(3)]) + "}\n\n";
        to.unasked.resize(to.event_begin);
        return true;
    case 2:
        both(to, "data: {\"choices\":[],\"model\":\"m\"}\n\n");
        return true;
    case 3:
        both(to, "data: [DONE]\n\n");
        return true;
    default:
        break;
    }
    const uint32_t count = 1 + next(3);
    const uint32_t place = next(count + 2); // of usage; with none of these it has none
    const std::string_view value = usages[next(std::size(usages))];
    const std::string usage = "\"usage\":" + std::string(value);
    bool stays = place > count || value.front() != '{';
    const char* const comma = next(2) == 0 ? "," : " ,\n";
    both(to, "data: {");
    // The comma in front goes with it; where there is none, the one behind it.
    for (uint32_t i = 0; i < count; ++i) {
        if (i == place) {
            to.asked += i == 0 ? usage + "," : "," + usage;
        }
        if (i != 0) {
            both(to, comma[0] == ' ' ? "," : comma);
        }
        const uint32_t member = (next(16) + i) % std::size(members);
        stays = stays || (members_that_stay >> member & 1) != 0;
        both(to, members[member]);
    }
    if (count == place) {
        to.asked += "," + usage;
    }
    both(to, "}\n\n");
    if (!stays) {
        to.unasked.resize(to.event_begin);
    }
    return true;
}

void add(two_forms& to, uint32_t bits)
{
    if (add_part(to, bits)) {
        to.event_begin = to.unasked.size();
    }
}

struct output {
    std::string all;
    std::string out;
    uint64_t passed = 0;

    void pass(uint64_t end)
    {
        if (end < passed || end > all.size())
            abort();
        out += all.substr(passed, end - passed);
        passed = end;
    }
    static void erase(void* self, uint64_t begin, uint64_t end)
    {
        auto& o = *static_cast<output*>(self);
        if (begin >= end)
            abort();
        o.pass(begin);
        o.passed = end;
        if (end > o.all.size())
            abort();
    }
};

std::string stripped(std::string_view text, strip_what what, uint32_t seed)
{
    output o;
    usage_reader reader;
    reader.start(reply_form::sse, 1, what);
    const auto feed = [&](std::string_view piece) {
        o.all += piece;
        reader.feed(piece, {output::erase, &o});
        if (reader.settled() > o.passed)
            o.pass(reader.settled());
        if (o.all.size() - o.passed > usage_strip::max_held)
            abort();
    };
    // Nothing is held back where pieces are passed over.
    const auto passed = [&](std::span<reply_piece> pieces) {
        if (!pieces.empty() && o.passed != o.all.size())
            abort();
        for (const reply_piece& piece : pieces) {
            const uint64_t begin = o.all.size();
            o.all += piece.bytes();
            if (piece.erase_end != 0)
                output::erase(&o, begin + piece.erase_begin, begin + piece.erase_end);
            o.pass(o.all.size());
        }
    };
    if (seed == event_pieces || seed == line_pieces)
        in_events(text, seed, reader, passed, feed);
    else
        in_pieces(text, seed, feed);
    reader.finish({output::erase, &o});
    o.pass(text.size());
    return o.out;
}

void compare(std::string_view text)
{
    for (const strip_what what : {strip_what::all, strip_what::running, strip_what::last}) {
        const std::string bytes = stripped(text, what, byte_pieces);
        const bool damaged = has_damaged_usage(text);
        for (const uint32_t pieces :
             {whole_piece, event_pieces, line_pieces, piece_seed(text), piece_seed(text) * 31 | 2})
            if (stripped(text, what, pieces) != bytes && !damaged)
                abort();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    two_forms stream;
    size_t at = 0;
    for (; at + 3 < size && data[at] != 0 && at < 400; at += 4)
        add(stream,
            data[at] | data[at + 1] << 8 | data[at + 2] << 16 | static_cast<uint32_t>(data[at + 3]) << 24);
    const uint32_t seed = piece_seed(stream.asked);
    for (const uint32_t pieces : {whole_piece, byte_pieces, event_pieces, line_pieces, seed, seed * 31 | 2})
        if (stripped(stream.asked, strip_what::all, pieces) != stream.unasked)
            abort();

    const std::string_view rest(reinterpret_cast<const char*>(data) + at, size - at);
    compare(rest);
    compare(plain_stream(rest).text());
    return 0;
}
