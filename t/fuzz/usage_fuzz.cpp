// A reply must count the same in any pieces, and be estimated the same. One byte a piece never passes over
// events, a whole one does, so this also proves that nothing is passed over that counts. The estimates of a
// stream may differ only by its odd events.
#include "core/reply/usage.h"

#include "pieces.h"
#include "plain_events.h"
#include "plain_stream.h"
#include "typed_stream.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <vector>

namespace {

using namespace llm;

constexpr char plain_mark = '\x01'; // what follows makes a plain_stream
constexpr char typed_mark = '\x02'; // or a typed_stream
// Events are passed over only after content.
constexpr std::string_view content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";

struct estimate {
    uint64_t uncounted = 0;
    uint64_t uncounted_pieces = 0;
    uint64_t shown = 0;
    uint64_t shown_pieces = 0;
};

struct result {
    std::string facts;
    std::vector<estimate> estimates; // of a stream of events
};

// `plain`: all of the stream is told, as it has no odd events.
result told(std::string_view text, uint32_t seed, reply_form form, uint32_t prompts, bool after_content,
            bool plain)
{
    result all;
    usage_reader reader;
    const auto log = [&](std::initializer_list<uint64_t> numbers) {
        for (const uint64_t n : numbers)
            all.facts += std::to_string(n) + ' ';
    };
    const auto note = [&] {
        const token_counts c = reader.counts();
        log({c.prompt, c.completion, c.cached, c.cache_write, c.reasoning, reader.known(),
             reader.content_seen(), reader.error_seen(), reader.done_seen(), reader.generates(),
             reader.told_nothing()});
        // Of a JSON reply of which the usage alone is read nothing else is known, nor is it needed.
        if (reader.form() != reply_form::json || !reader.known() || c.completion == 0)
            log({reader.has_vectors(), reader.incomplete_seen()});
        if (reader.form() != reply_form::sse || plain)
            log({reader.final(), reader.whole(), reader.lacks_end()});
        if (reader.form() == reply_form::json ? !reader.known() || c.completion == 0 : plain)
            log({reader.showed_reasoning()});
        const estimate now{reader.uncounted_text().bytes, reader.uncounted_text().pieces,
                           reader.shown_text().bytes, reader.shown_text().pieces};
        if (reader.form() == reply_form::sse)
            all.estimates.push_back(now);
        else if (!reader.known() || c.completion == 0)
            log({now.uncounted, now.uncounted_pieces, now.shown, now.shown_pieces});
        if (c.cached + c.cache_write > c.prompt || c.reasoning > c.completion
            || (reader.final() && !reader.known()))
            abort();
    };
    reader.start(form, prompts, strip_what::nothing);
    reader.expect_choices(prompts * 2);
    if (after_content)
        reader.feed(content);
    const auto feed = [&](std::string_view piece) { reader.feed(piece); };
    if (seed == event_pieces || seed == line_pieces)
        in_events(
            text, seed, reader, [](auto) {}, feed);
    else
        in_pieces(text, seed, feed);
    note();
    reader.finish();
    note();
    reader.finish();
    note();
    return all;
}

bool is_near(uint64_t a, uint64_t b, uint64_t most)
{
    return (a > b ? a - b : b - a) <= most;
}

// An odd event that is passed over may have had other text than stands where others have theirs, but not more
// than its bytes.
bool is_same(const result& a, const result& b, const odd_events& odd)
{
    return a.facts == b.facts
           && std::equal(a.estimates.begin(), a.estimates.end(), b.estimates.begin(), b.estimates.end(),
                         [&](const estimate& x, const estimate& y) {
                             return is_near(x.uncounted, y.uncounted, odd.bytes)
                                    && is_near(x.uncounted_pieces, y.uncounted_pieces, odd.count)
                                    && is_near(x.shown, y.shown, odd.bytes)
                                    && is_near(x.shown_pieces, y.shown_pieces, odd.count);
                         });
}

void compare(std::string_view text, reply_form form, uint32_t prompts, bool after_content,
             const odd_events& odd, bool plain)
{
    const auto of = [&](uint32_t seed) { return told(text, seed, form, prompts, after_content, plain); };
    const result bytes = of(byte_pieces);
    const bool damaged = has_damaged_usage(text) || (form != reply_form::sse && is_damaged_reply(text));
    for (const uint32_t seed :
         {whole_piece, event_pieces, line_pieces, piece_seed(text), piece_seed(text) * 31 | 2})
        if (!is_same(of(seed), bytes, odd) && !damaged)
            abort();
}

void compare(std::string_view text, reply_form form, uint32_t prompts, bool after_content)
{
    const odd_events odd = form == reply_form::json ? odd_events() : find_odd_events(text);
    compare(text, form, prompts, after_content, odd, odd.count == 0);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const uint32_t prompts = static_cast<uint32_t>(size % 4);
    if (text.starts_with(plain_mark)) {
        const std::string stream = plain_stream(text.substr(1)).text();
        if (find_odd_events(stream).count != 0)
            abort();
        compare(stream, reply_form::sse, prompts, false);
    } else if (text.starts_with(typed_mark)) {
        typed_stream stream(text.substr(1));
        compare(stream.text(), reply_form::sse, prompts, false, stream.odd(), true);
    } else if (text.starts_with('{') || text.starts_with('[')) {
        compare(text, reply_form::json, prompts, false);
        compare(text, reply_form::lines, prompts, false);
        compare(text, reply_form::unknown, prompts, false);
    } else {
        compare(text, reply_form::unknown, prompts, false);
        compare(text, reply_form::sse, prompts, true);
        compare(text, reply_form::sse, prompts, false);
    }
    return 0;
}
