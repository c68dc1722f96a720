#include "usage_counts.h"

#include "core/json/json_count.h"
#include "core/json/json_scan.h"

#include <algorithm>

namespace llm {

namespace {

uint32_t sum(uint32_t a, uint32_t b)
{
    return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{a} + b, usage_counts::max_count));
}

uint32_t above(uint32_t all, uint32_t part)
{
    return all > part ? all - part : 0;
}

bool is_of_prompt(usage_field field)
{
    return field != usage_field::completion && field != usage_field::output && field != usage_field::reasoning
           && field != usage_field::thoughts;
}

} // namespace

void usage_counts::raise(const usage_counts& other)
{
    prompt = std::max(prompt, other.prompt);
    completion = std::max(completion, other.completion);
    cached = std::max(cached, other.cached);
    cache_write = std::max(cache_write, other.cache_write);
    reasoning = std::max(reasoning, other.reasoning);
}

void usage_counts::add(const usage_counts& other)
{
    prompt = sum(prompt, other.prompt);
    completion = sum(completion, other.completion);
    cached = sum(cached, other.cached);
    cache_write = sum(cache_write, other.cache_write);
    reasoning = sum(reasoning, other.reasoning);
}

usage_fields::usage_fields(const usage_counts& counts)
{
    put(usage_field::prompt, counts.prompt);
    put(usage_field::completion, counts.completion);
    put(usage_field::cached, counts.cached);
    put(usage_field::cache_write, counts.cache_write);
    put(usage_field::reasoning, counts.reasoning);
}

void usage_fields::set(usage_field field, const json_event& event)
{
    uint64_t count = 0;
    if (event.type != json_type::number || event.truncated
        || !json_count(event.text, usage_counts::max_count, count)) {
        return;
    }
    put(field, static_cast<uint32_t>(count));
}

void usage_fields::update(const usage_fields& later)
{
    for (size_t i = 0; i < static_cast<size_t>(usage_field::count); ++i) {
        const auto field = static_cast<usage_field>(i);
        if (later.has(field) && (later.value[i] != 0 || !is_of_prompt(field))) {
            value[i] = later.value[i];
        }
    }
    seen |= later.seen;
}

usage_counts usage_fields::counts() const
{
    const usage_fields& of = *this;
    const bool has_prompt = has(usage_field::prompt) || has(usage_field::input);
    const bool has_completion =
        has(usage_field::completion) || has(usage_field::output) || has(usage_field::thoughts);
    usage_counts c;
    if (has(usage_field::prompt)) {
        c.prompt = of[usage_field::prompt];
    } else {
        c.prompt =
            sum(of[usage_field::input], sum(of[usage_field::cache_read], of[usage_field::cache_creation]));
    }
    c.prompt = sum(c.prompt, of[usage_field::beside_prompt]);
    c.completion = sum(of[has(usage_field::completion) ? usage_field::completion : usage_field::output],
                       of[usage_field::thoughts]);
    // Rerank servers may send the total alone: all of it is input.
    if (!has_prompt && c.prompt == 0) {
        c.prompt = above(of[usage_field::total], c.completion);
    } else if (!has_completion) {
        c.completion = above(of[usage_field::total], c.prompt);
    }
    c.cached = std::min(std::max(of[usage_field::cached], of[usage_field::cache_read]), c.prompt);
    c.cache_write = std::min(std::max(of[usage_field::cache_write], of[usage_field::cache_creation]),
                             c.prompt - c.cached);
    c.reasoning = std::min(std::max(of[usage_field::reasoning], of[usage_field::thoughts]), c.completion);
    return c;
}

} // namespace llm
