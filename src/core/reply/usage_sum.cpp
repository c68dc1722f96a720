#include "usage_sum.h"

#include <algorithm>

namespace llm {

namespace {

// The largest of each, of several events, need not be parts of one whole.
token_counts parts_within(const token_counts& c)
{
    const uint64_t cached = std::min(c.cached, c.prompt);
    return {.prompt = c.prompt,
            .cached = cached,
            .completion = c.completion,
            .reasoning = std::min(c.reasoning, c.completion),
            .cache_write = std::min(c.cache_write, c.prompt - cached)};
}

} // namespace

void usage_sum::of_choice(uint32_t choice, const usage_counts& counts)
{
    choice_most_.raise(counts);
    if (choice < max_choices) {
        const uint32_t prompt = counts.prompt != 0 ? counts.prompt : choice_[choice].prompt;
        choice_[choice] = {prompt, counts.completion};
    } else {
        choice_counts& rest = choice_[max_choices];
        rest = {std::max(rest.prompt, counts.prompt), std::max(rest.completion, counts.completion)};
    }
    choices_ = std::max(choices_, choice + 1);
}

void usage_sum::last_word(const usage_counts& counts, uint32_t most)
{
    if (last_words_ >= most) {
        forget_last_words();
    }
    ++last_words_;
    told_prompt_ = counts.prompt != 0 ? counts.prompt : told_prompt_;
    last_sum_.add(counts);
    last_most_.raise(counts);
}

void usage_sum::forget_last_words()
{
    last_words_ = 0;
    last_sum_ = {};
    last_most_ = {};
}

void usage_sum::of_whole(const usage_fields& fields, bool is_last)
{
    whole_.update(fields);
    has_whole_ = true;
    whole_is_last_ = whole_is_last_ || is_last;
}

token_counts usage_sum::counts(uint32_t prompts) const
{
    if (last_words_ != 0) {
        // Choices of one prompt tell the same prompt each.
        const usage_counts& in = prompts <= 1 ? last_most_ : last_sum_;
        const uint32_t times = prompts <= 1 ? 1 : std::max(last_words_ / prompts, 1u);
        const uint64_t prompt = in.prompt != 0 ? in.prompt / times : so_far(prompts).prompt;
        return parts_within({.prompt = prompt != 0 ? prompt : told_prompt_,
                             .cached = in.cached / times,
                             .completion = last_sum_.completion,
                             .reasoning = last_sum_.reasoning,
                             .cache_write = in.cache_write / times});
    }
    return parts_within(so_far(prompts));
}

// By all but last words.
token_counts usage_sum::so_far(uint32_t prompts) const
{
    token_counts total = choices_ != 0 ? of_choices(prompts) : token_counts();
    if (has_whole_) {
        const usage_counts whole = whole_.counts();
        total.prompt = std::max<uint64_t>(total.prompt, whole.prompt);
        total.completion = std::max<uint64_t>(total.completion, whole.completion);
        total.cached = std::max<uint64_t>(total.cached, whole.cached);
        total.cache_write = std::max<uint64_t>(total.cache_write, whole.cache_write);
        total.reasoning = std::max<uint64_t>(total.reasoning, whole.reasoning);
    }
    return total;
}

// Choice i is of prompt i / n, where the request's n is known from how many choices there are.
token_counts usage_sum::of_choices(uint32_t prompts) const
{
    token_counts total{.cached = choice_most_.cached,
                       .reasoning = choice_most_.reasoning,
                       .cache_write = choice_most_.cache_write};
    const uint32_t per_prompt = prompts <= 1 ? choices_ : (choices_ - 1) / prompts + 1;
    uint32_t prompt = 0;
    for (uint32_t i = 0; i <= max_choices && i < choices_; ++i) {
        total.completion += choice_[i].completion;
        if (i % per_prompt == 0) {
            total.prompt += prompt;
            prompt = 0;
        }
        prompt = std::max(prompt, choice_[i].prompt);
    }
    total.prompt += prompt;
    return total;
}

} // namespace llm
