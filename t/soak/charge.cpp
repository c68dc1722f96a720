#include "charge.h"

#include <algorithm>
#include <cstdint>

namespace soak {

namespace {

range estimated_prompt(const asked_size& asked)
{
    return {(asked.body + 7) / 8, (asked.body + 1) / 2};
}

range estimated_text(std::size_t bytes, unsigned pieces)
{
    if (bytes == 0) {
        return {};
    }
    const std::size_t least = std::max<std::size_t>((pieces + 1) / 2, 1);
    return {std::max(bytes / 8, least), std::max(bytes / 2 + 1, least)};
}

std::size_t most_of(const asked_size& asked)
{
    return asked.max_tokens != 0 ? asked.max_tokens : SIZE_MAX;
}

range prompt_of(const so_far& now, const asked_size& asked)
{
    return now.tells_prompt ? range{now.told.prompt, now.told.prompt} : estimated_prompt(asked);
}

range completion_of(const so_far& now, bool is_json, const asked_size& asked)
{
    const std::size_t told = now.tells_completion ? now.told.completion : 0;
    if (is_json && told != 0) {
        return {told, told};
    }
    const std::size_t most = most_of(asked);
    const range text = estimated_text(now.text, now.texts);
    return {std::max(told, std::min(told + text.low, most)),
            std::max(told, std::min(told + text.high, most))};
}

} // namespace

void range::widen(const range& other)
{
    low = std::min(low, other.low);
    high = std::max(high, other.high);
}

charge charge_of_whole(const script& s, const asked_size& asked)
{
    const so_far now = s.whole();
    const bool no_text = now.text == 0;
    return {prompt_of(now, asked),
            completion_of(now, s.is_json, asked),
            now.told,
            now.tells_prompt && (now.tells_completion || no_text),
            false,
            false};
}

charge charge_of_part(const script* s, std::size_t least, std::size_t most, const asked_size& asked)
{
    charge all{estimated_prompt(asked), {}, {}, false, true, true};
    if (!s) {
        return all;
    }
    const so_far begin = s->after(least);
    all.prompt = prompt_of(begin, asked);
    all.completion = completion_of(begin, s->is_json, asked);
    const bool told = begin.tells_prompt || begin.tells_completion;
    all.may_be_none = !told && begin.text == 0;
    all.may_be_lost = !told && (s->is_json || begin.text == 0);
    // Counts in its header may have come without any of its body.
    if (s->is_json && !s->more_head.empty()) {
        all.prompt.widen(prompt_of(s->whole(), asked));
        all.completion.widen(completion_of(s->whole(), true, asked));
    }
    std::size_t bytes = 0;
    for (std::size_t n = least; n < most; n++) {
        // Of a piece that came in part its text may have been seen without its counts, or the other way
        // round.
        so_far torn = s->after(n);
        torn.text += s->pieces[n].text;
        torn.texts += s->pieces[n].text != 0;
        so_far whole = s->after(n + 1);
        for (const so_far& now : {torn, whole}) {
            all.prompt.widen(prompt_of(now, asked));
            all.completion.widen(completion_of(now, s->is_json, asked));
        }
        // Of JSON that has begun to bring text, and then brings none, all bytes count.
        bytes += s->pieces[n].bytes.size();
        if (s->is_json && !s->after(n).tells_completion) {
            all.completion.widen({0, std::min(bytes / 4 + 1, most_of(asked))});
        }
    }
    return all;
}

} // namespace soak
