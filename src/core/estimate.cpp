#include "estimate.h"

#include "gcra.h"

#include <algorithm>

namespace llm {

// A word: tag 16 bits, bytes per prompt token in 1/256 (24 bits), completion tokens in 1/16 (24 bits).
struct learned_figures::figure {
    static constexpr uint64_t max_value = (1 << 24) - 1;

    uint64_t ratio;      // 0 = not known
    uint64_t completion; // 0 = not known
};

namespace {

// Moves an eighth of the way, and at least one step: to a value that stays the same it comes in the end.
uint64_t moved(uint64_t from, uint64_t to)
{
    if (from == 0 || to == 0) {
        return from + to;
    }
    return to >= from ? from + (to - from + 7) / 8 : from - (from - to + 7) / 8;
}

} // namespace

void learned_figures::format(void* memory, uint32_t capacity, const hash_key& key)
{
    figures_ = static_cast<std::atomic<uint64_t>*>(memory);
    mask_ = capacity - 1;
    key_ = key;
}

learned_figures::place learned_figures::place_of(std::string_view key, std::string_view model) const
{
    uint64_t hash = siphash13({key_[0], key_[1] ^ siphash13(key_, key)}, model);
    return {hash & mask_, hash >> 48};
}

learned_figures::figure learned_figures::read(const place& at) const
{
    uint64_t word = figures_[at.index].load(std::memory_order_relaxed);
    if (word >> 48 != at.tag) {
        return {0, 0};
    }
    return {word >> 24 & figure::max_value, word & figure::max_value};
}

token_estimate learned_figures::estimate(std::string_view key, std::string_view model,
                                         const request_size& size) const
{
    figure known = read(place_of(key, model));
    if (known.ratio == 0 || known.completion == 0) {
        figure of_others = read(place_of({}, model));
        known.ratio = known.ratio ? known.ratio : of_others.ratio;
        known.completion = known.completion ? known.completion : of_others.completion;
    }

    uint64_t ratio = known.ratio ? known.ratio : default_bytes_per_token * 256;
    uint64_t bytes = std::min<uint64_t>(size.prompt_bytes, uint64_t{1} << 40);
    uint64_t prompt = bytes * 256 / ratio + (bytes * 256 % ratio != 0);

    if (size.max_tokens == 0) {
        return {prompt, known.completion ? (known.completion + 15) / 16 : default_completion};
    }
    uint64_t completion = std::min(size.max_tokens, max_completion);
    return {prompt, completion * std::clamp<uint64_t>(size.choices, 1, 1024)};
}

void learned_figures::learn_at(const place& at, uint64_t ratio, uint64_t completion)
{
    figure known = read(at);
    known.ratio = moved(known.ratio, ratio);
    known.completion = moved(known.completion, completion);
    figures_[at.index].store(at.tag << 48 | known.ratio << 24 | known.completion, std::memory_order_relaxed);
}

void learned_figures::learn(std::string_view key, std::string_view model, const request_size& size,
                            uint64_t prompt_tokens, uint64_t completion_tokens)
{
    uint64_t bytes = std::min<uint64_t>(size.prompt_bytes, uint64_t{1} << 40);
    uint64_t ratio = 0;
    if (prompt_tokens != 0 && bytes != 0) {
        ratio = std::clamp<uint64_t>(bytes * 256 / prompt_tokens, 1, figure::max_value);
    }
    uint64_t completion = std::min<uint64_t>(completion_tokens, figure::max_value / 16) * 16;
    learn_at(place_of(key, model), ratio, completion);
    learn_at(place_of({}, model), ratio, completion);
}

} // namespace llm
