#include "estimate.h"

#include "gcra.h"

#include <algorithm>
#include <cstring>

namespace llm {

// A word: tag 16 bits, bytes per prompt token in 1/256 (24 bits), completion tokens in 1/16 and 1 (24 bits).
struct learned_figures::figure {
    static constexpr uint64_t max_value = (1 << 24) - 1;

    uint64_t ratio;      // 0 = not known
    uint64_t completion; // 0 = not known, 1 = known to be none

    uint64_t completion_tokens() const { return (completion + 14) / 16; }
};

namespace {

// Keyed, so that nobody can choose names that collide without knowing the key; but much cheaper than SipHash,
// which each request would pay for. What a collision costs here is an estimate.
uint64_t hash_of(const hash_key& key, std::string_view text)
{
    // Fractions of the golden ratio and of the square root of 2.
    constexpr uint64_t one = 0x9e3779b97f4a7c15u;
    constexpr uint64_t two = 0x6a09e667f3bcc908u;
    const uint64_t factor = key[1] ^ one;
    uint64_t hash = key[0] ^ two;
    auto take = [&](uint64_t word) {
        auto product = static_cast<unsigned __int128>(hash ^ word) * factor;
        hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    };
    auto load = [](const char* from, size_t size) {
        uint64_t word = 0;
        memcpy(&word, from, size);
        return word;
    };

    const char* p = text.data();
    size_t left = text.size();
    for (; left > 8; p += 8, left -= 8) {
        take(load(p, 8));
    }
    if (text.size() >= 8) {
        take(load(p + left - 8, 8));
    } else if (left >= 4) {
        take(load(p, 4) | load(p + left - 4, 4) << 32);
    } else if (left > 0) {
        take(load(p, 1) | load(p + left / 2, 1) << 8 | load(p + left - 1, 1) << 16);
    }
    take(one + text.size());
    return hash;
}

// Moves an eighth of the way, and at least one step: to a value that stays the same it comes in the end.
uint64_t moved(uint64_t from, uint64_t to)
{
    if (from == 0 || to == 0) {
        return from + to;
    }
    return to >= from ? from + (to - from + 7) / 8 : from - (from - to + 7) / 8;
}

// Bytes are taken in 1/256, for ratios that are.
constexpr uint64_t max_bytes = uint64_t{1} << 40;

// 0 = not known. Rounded up, so that what was learned from is estimated as it was.
uint64_t ratio_of(uint64_t bytes, uint64_t tokens)
{
    if (bytes == 0 || tokens == 0) {
        return 0;
    }
    constexpr uint64_t max_ratio = (1 << 24) - 1;
    uint64_t units = std::min(bytes, max_bytes) * 256;
    return std::min(units / tokens + (units % tokens != 0), max_ratio);
}

// Bytes of an event with one token, where nothing was learned: about the length of such events as servers
// send them, with an id and the name of a model of usual length (vLLM's chunks of chat and events of
// responses; Anthropic's content_block_delta with its event line, Ollama's lines).
uint64_t default_event_bytes(api as)
{
    return as == api::openai || as == api::responses ? 210 : 120;
}

} // namespace

void learned_figures::format(void* memory, uint32_t capacity, const hash_key& key)
{
    figures_ = static_cast<std::atomic<uint64_t>*>(memory);
    mask_ = capacity - 1;
    key_ = key;
    models_key_ = {key[0], key[1] ^ hash_of(key, {})};
}

learned_figures::place learned_figures::place_of(std::string_view key, std::string_view model) const
{
    uint64_t hash = hash_of({key_[0], key_[1] ^ hash_of(key_, key)}, model);
    return {hash & mask_, hash >> 48};
}

learned_figures::place learned_figures::place_of(std::string_view model) const
{
    uint64_t hash = hash_of(models_key_, model);
    return {hash & mask_, hash >> 48};
}

// On the cache line of the model's own figure, under a tag that is not that one's.
learned_figures::place learned_figures::stream_place(std::string_view model, api as) const
{
    place own = place_of(model);
    return {(own.index ^ (1 + static_cast<size_t>(as))) & mask_, own.tag ^ 0xffff};
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
        figure of_others = read(place_of(model));
        known.ratio = known.ratio ? known.ratio : of_others.ratio;
        known.completion = known.completion ? known.completion : of_others.completion;
    }

    uint64_t ratio = known.ratio ? known.ratio : default_bytes_per_token * 256;
    uint64_t bytes = std::min(size.prompt_bytes, max_bytes);
    uint64_t prompt = std::min(bytes * 256 / ratio + (bytes * 256 % ratio != 0), max_prompt);

    if (size.max_tokens == 0) {
        return {prompt, known.completion ? known.completion_tokens() : default_completion};
    }
    uint64_t completion = std::min<uint64_t>(size.max_tokens, max_completion);
    return {prompt, completion * std::clamp<uint64_t>(size.choices, 1, 1024)};
}

void learned_figures::learn_at(const place& at, uint64_t ratio, uint64_t completion)
{
    figure known = read(at);
    known.ratio = moved(known.ratio, ratio);
    known.completion = moved(known.completion, completion);
    figures_[at.index].store(at.tag << 48 | known.ratio << 24 | known.completion, std::memory_order_relaxed);
}

namespace {

struct lesson {
    uint64_t ratio;
    uint64_t completion;

    lesson(const request_size& size, uint64_t prompt_tokens, uint64_t completion_tokens)
        : ratio(ratio_of(size.prompt_bytes, prompt_tokens)), completion(0)
    {
        constexpr uint64_t max_tokens = (1 << 20) - 1;
        if ((prompt_tokens | completion_tokens) != 0) {
            completion = std::min(completion_tokens, max_tokens) * 16 + 1;
        }
    }
};

} // namespace

void learned_figures::learn(std::string_view key, std::string_view model, const request_size& size,
                            uint64_t prompt_tokens, uint64_t completion_tokens)
{
    lesson taught(size, prompt_tokens, completion_tokens);
    learn_at(place_of(key, model), taught.ratio, taught.completion);
    learn_at(place_of(model), taught.ratio, taught.completion);
}

void learned_figures::learn(std::string_view model, const request_size& size, uint64_t prompt_tokens,
                            uint64_t completion_tokens)
{
    lesson taught(size, prompt_tokens, completion_tokens);
    learn_at(place_of(model), taught.ratio, taught.completion);
}

// A word of streams: tag 16 bits, bytes per token of completion in 1/256 (24 bits).
uint64_t learned_figures::stream_ratio(const place& at) const
{
    uint64_t word = figures_[at.index].load(std::memory_order_relaxed);
    return word >> 48 == at.tag ? word & figure::max_value : 0;
}

uint64_t learned_figures::tokens_of_stream(std::string_view model, api as, uint64_t bytes) const
{
    if (bytes == 0) {
        return 0;
    }
    uint64_t learned = stream_ratio(stream_place(model, as));
    uint64_t ratio = learned ? learned : default_event_bytes(as) * 256;
    return std::max<uint64_t>((std::min(bytes, max_bytes) * 256 + ratio / 2) / ratio, 1);
}

void learned_figures::learn_stream(std::string_view model, api as, uint64_t bytes, uint64_t tokens)
{
    uint64_t ratio = ratio_of(bytes, tokens);
    if (ratio != 0) {
        place at = stream_place(model, as);
        ratio = moved(stream_ratio(at), ratio);
        figures_[at.index].store(at.tag << 48 | ratio, std::memory_order_relaxed);
    }
}

} // namespace llm
