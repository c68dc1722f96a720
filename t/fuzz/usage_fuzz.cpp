// A reply must count the same in any pieces. One byte a piece never passes over events, a whole one does, so
// this also proves that nothing is passed over that counts.
#include "core/reply/usage.h"

#include "pieces.h"

#include <cstdlib>
#include <string>

namespace {

using namespace llm;

// Events are passed over only after content.
constexpr std::string_view content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";

std::string told(std::string_view text, uint32_t seed, reply_form form, uint32_t prompts, bool after_content)
{
    std::string log;
    static usage_patterns patterns; // what one reader has learned, others use
    usage_reader reader;
    const auto note = [&] {
        const token_counts c = reader.counts();
        for (const uint64_t n :
             {c.prompt, c.completion, c.cached, c.cache_write, c.reasoning, uint64_t{reader.known()},
              uint64_t{reader.incomplete_seen()}, uint64_t{reader.final()}, uint64_t{reader.content_seen()},
              uint64_t{reader.error_seen()}, uint64_t{reader.done_seen()}, uint64_t{reader.generates()},
              uint64_t{reader.has_vectors()}, uint64_t{reader.told_nothing()},
              uint64_t{reader.showed_reasoning()}})
            log += std::to_string(n) + ' ';
        // Of a JSON reply that is compared instead of read no text is measured, nor is it needed. Of events
        // that are passed over it is measured where others have theirs, whatever they call it.
        if (reader.form() != reply_form::sse && (!reader.known() || c.completion == 0))
            for (const uint64_t n : {reader.uncounted_text().bytes, reader.uncounted_text().pieces,
                                     reader.shown_text().bytes, reader.shown_text().pieces})
                log += std::to_string(n) + ' ';
        if (c.cached + c.cache_write > c.prompt || c.reasoning > c.completion
            || (reader.final() && !reader.known()))
            abort();
    };
    reader.start(form, prompts, strip_what::nothing, &patterns);
    reader.expect_choices(prompts * 2);
    if (after_content)
        reader.feed(content);
    const auto feed = [&](std::string_view piece) { reader.feed(piece); };
    if (seed == event_pieces)
        in_events(
            text, reader, [](auto) {}, feed);
    else
        in_pieces(text, seed, feed);
    note();
    reader.finish();
    note();
    reader.finish();
    note();
    return log;
}

void compare(std::string_view text, reply_form form, uint32_t prompts, bool after_content)
{
    const std::string bytes = told(text, byte_pieces, form, prompts, after_content);
    for (const uint32_t seed : {whole_piece, event_pieces, piece_seed(text), piece_seed(text) * 31 | 2})
        if (told(text, seed, form, prompts, after_content) != bytes)
            abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const uint32_t prompts = static_cast<uint32_t>(size % 4);
    if (text.starts_with('{') || text.starts_with('[')) {
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
