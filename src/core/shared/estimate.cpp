#include "estimate.h"

#include <algorithm>
#include <cstring>

namespace llm {

// Two words are a figure: one of completions, and one of ratios. Each has a tag of 16 bits.
struct token_estimator::completion_figure {
    // The completion of one choice, in 1/16 and 1; 0 = not known, 1 = known to be none.
    uint64_t value = 0;

    bool known() const { return value != 0; }
    uint64_t tokens() const { return (value + 14) / 16; }
};

struct token_estimator::ratio_figure {
    // A ratio, as token_ratios has it, and from how many tokens it was learned lately.
    struct average {
        static constexpr uint64_t weight_unit = 16; // tokens
        static constexpr uint64_t max_weight = 255; // units: what came before that is forgotten

        uint32_t ratio = 0; // 0 = not known
        uint32_t weight = 0;

        void take(uint64_t bytes, uint64_t tokens);
    };

    average prompt;
    average text;
};

namespace {

// Keyed, so that nobody can choose names that collide without knowing the key; but much cheaper than SipHash,
// which each request would pay for. What a collision costs here is an estimate.
uint64_t hash_of(const hash_key& key, std::string_view text)
{
    // Fractions of the golden ratio and of the square root of 2.
    constexpr uint64_t golden = 0x9e3779b97f4a7c15u;
    constexpr uint64_t root = 0x6a09e667f3bcc908u;
    const uint64_t factor = key[1] ^ golden;
    uint64_t hash = key[0] ^ root;
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
    take(golden + text.size());
    return hash;
}

constexpr uint64_t max_completion_value = (1 << 24) - 1;

// Moves an eighth of the way, and at least one step: to a value that stays the same it comes in the end.
uint64_t moved(uint64_t from, uint64_t to)
{
    if (from == 0 || to == 0) {
        return from + to;
    }
    return to >= from ? from + (to - from + 7) / 8 : from - (from - to + 7) / 8;
}

// Ratios are of bytes in 1/one.
constexpr uint64_t one = token_ratios::one;
constexpr uint64_t max_bytes = uint64_t{1} << 40;

// Bytes a token that some text could have: one of fewer had tokens that were not shown, or were those of a
// prompt that stands elsewhere; one of more had bytes that are no text.
constexpr uint64_t least_sane = one / 2;
constexpr uint64_t most_sane = one * 64;

uint64_t value_of_completion(uint64_t tokens)
{
    return std::min<uint64_t>(tokens, token_estimator::max_completion - 1) * 16 + 1;
}

} // namespace

// A lesson counts by its tokens.
void token_estimator::ratio_figure::average::take(uint64_t bytes, uint64_t tokens)
{
    if (bytes == 0 || tokens == 0) {
        return;
    }
    // Rounded up, so that what was learned from is estimated as it was.
    const uint64_t units = std::min(bytes, max_bytes) * one;
    const uint64_t told = units / tokens + (units % tokens != 0);
    if (told < least_sane || told > most_sane) {
        return;
    }
    const uint64_t lesson = std::clamp<uint64_t>(told, token_ratios::least, token_ratios::most);
    const uint64_t more = std::clamp<uint64_t>(tokens / weight_unit, ratio == 0 ? 1 : 0, max_weight);
    const uint64_t all = weight + more;
    if (all != 0) {
        ratio = static_cast<uint32_t>((uint64_t{ratio} * weight + lesson * more + all / 2) / all);
        weight = static_cast<uint32_t>(std::min(all, max_weight));
    }
}

uint64_t token_ratios::prompt_tokens(const request_size& size) const
{
    const uint64_t units = std::min(size.prompt_bytes, max_bytes) * one;
    const uint64_t text_tokens = units / prompt + (units % prompt != 0);
    return std::min(text_tokens + size.media * request_size::media_tokens, max_prompt);
}

uint64_t token_ratios::text_tokens(const text_size& shown) const
{
    if (shown.bytes == 0) {
        return 0;
    }
    const uint64_t by_bytes = (std::min(shown.bytes, max_bytes) * one + text / 2) / text;
    return std::max({by_bytes, (shown.pieces + 1) / 2, uint64_t{1}});
}

void token_estimator::format(void* memory, uint32_t capacity, const hash_key& key)
{
    figures_ = static_cast<std::atomic<uint64_t>*>(memory);
    half_ = capacity / 2;
    key_ = key;
    models_key_ = {key[0], key[1] ^ hash_of(key, {})};
}

// A key has one cache line of four figures: the names that it thinks up push out no other key's, but for
// those that share its line.
token_estimator::place token_estimator::own_place(std::string_view key, std::string_view model) const
{
    const uint64_t of_key = hash_of(key_, key);
    const uint64_t hash = hash_of({key_[0], key_[1] ^ of_key}, model);
    return {((of_key << 3) & (half_ - 1)) | ((hash & 3) << 1), hash >> 48};
}

token_estimator::place token_estimator::shared_place(std::string_view model) const
{
    const uint64_t hash = hash_of(models_key_, model);
    return {half_ + ((hash << 1) & (half_ - 1)), hash >> 48};
}

// A word of completions: tag 16 bits, value 48.
token_estimator::completion_figure token_estimator::completion_at(const place& at) const
{
    const uint64_t w = word(at.index);
    return {w >> 48 == at.tag ? w & max_completion_value : 0};
}

// A word of ratios: tag 16 bits, then 16 and 8 of the prompt's, and of the text's.
token_estimator::ratio_figure token_estimator::ratios_at(const place& at) const
{
    const uint64_t w = word(at.index + 1);
    if (w >> 48 != at.tag) {
        return {};
    }
    return {{static_cast<uint32_t>(w >> 32 & 0xffff), static_cast<uint32_t>(w >> 24 & 0xff)},
            {static_cast<uint32_t>(w >> 8 & 0xffff), static_cast<uint32_t>(w & 0xff)}};
}

token_estimate token_estimator::estimate(std::string_view key, std::string_view model,
                                         const request_size& size) const
{
    const place own = own_place(key, model);
    completion_figure known = completion_at(own);
    uint32_t ratio = ratios_at(own).prompt.ratio;
    if (!known.known() || ratio == 0) {
        const place shared = shared_place(model);
        known = known.known() ? known : completion_at(shared);
        ratio = ratio ? ratio : ratios_at(shared).prompt.ratio;
    }
    token_ratios by;
    by.prompt = ratio ? ratio : by.prompt;
    const uint64_t each = size.max_tokens != 0 ? std::min<uint64_t>(size.max_tokens, max_completion)
                          : known.known()      ? known.tokens()
                                               : default_completion;
    return {by.prompt_tokens(size), each * std::clamp<uint64_t>(size.choices, 1, request_size::max_choices)};
}

token_ratios token_estimator::ratios(std::string_view key, std::string_view model) const
{
    const ratio_figure own = ratios_at(own_place(key, model));
    token_ratios by;
    by.prompt = own.prompt.ratio ? own.prompt.ratio : by.prompt;
    by.text = own.text.ratio ? own.text.ratio : by.text;
    return by;
}

uint64_t token_estimator::own_completion(std::string_view key, std::string_view model) const
{
    const completion_figure own = completion_at(own_place(key, model));
    return own.known() ? own.tokens() : default_completion;
}

void token_estimator::learn(std::string_view key, std::string_view model, const request_size& size,
                            const usage_lesson& lesson)
{
    learn_at(own_place(key, model), size, lesson, true);
    learn_at(shared_place(model), size, {lesson.prompt_tokens, lesson.completion_tokens, 0}, false);
}

void token_estimator::learn_at(const place& at, const request_size& size, const usage_lesson& lesson,
                               bool is_own)
{
    if ((lesson.prompt_tokens | lesson.completion_tokens) == 0) {
        return;
    }
    uint64_t completion = lesson.completion_tokens / std::max<uint32_t>(size.choices, 1);
    if (!is_own) {
        completion = std::clamp(completion, default_completion / 2, default_completion * 2);
    }
    const uint64_t value = moved(completion_at(at).value, value_of_completion(completion));
    figures_[at.index].store(at.tag << 48 | value, std::memory_order_relaxed);

    ratio_figure known = ratios_at(at);
    // How many of its tokens were those of the text, nobody tells.
    known.prompt.take(size.media == 0 ? size.prompt_bytes : 0, lesson.prompt_tokens);
    known.text.take(lesson.text_bytes, lesson.completion_tokens);
    put_ratios(at, known);
}

void token_estimator::put_ratios(const place& at, const ratio_figure& known)
{
    const uint64_t word_of_ratios = at.tag << 48 | uint64_t{known.prompt.ratio} << 32
                                    | uint64_t{known.prompt.weight} << 24 | uint64_t{known.text.ratio} << 8
                                    | known.text.weight;
    figures_[at.index + 1].store(word_of_ratios, std::memory_order_relaxed);
}

learned_figures token_estimator::figures_at(const place& at) const
{
    const ratio_figure ratios = ratios_at(at);
    return {.completion = static_cast<uint32_t>(completion_at(at).value),
            .prompt_ratio = static_cast<uint16_t>(ratios.prompt.ratio),
            .text_ratio = static_cast<uint16_t>(ratios.text.ratio),
            .prompt_weight = static_cast<uint8_t>(ratios.prompt.weight),
            .text_weight = static_cast<uint8_t>(ratios.text.weight)};
}

void token_estimator::restore_at(const place& at, const learned_figures& known)
{
    const auto is_ratio = [](uint32_t ratio) {
        return ratio >= token_ratios::least && ratio <= token_ratios::most;
    };
    if (!completion_at(at).known() && known.completion != 0 && known.completion <= max_completion_value) {
        figures_[at.index].store(at.tag << 48 | known.completion, std::memory_order_relaxed);
    }
    ratio_figure ratios = ratios_at(at);
    if (ratios.prompt.ratio == 0 && is_ratio(known.prompt_ratio)) {
        ratios.prompt = {known.prompt_ratio, known.prompt_weight};
    }
    if (ratios.text.ratio == 0 && is_ratio(known.text_ratio)) {
        ratios.text = {known.text_ratio, known.text_weight};
    }
    put_ratios(at, ratios);
}

} // namespace llm
