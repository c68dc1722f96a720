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
    const bool may_be = event.type == json_type::number || event.type == json_type::string;
    if (may_be && !event.truncated && json_count_part(event.text, usage_counts::max_count, count)) {
        put(field, static_cast<uint32_t>(count));
    }
}

void usage_fields::update(const usage_fields& later)
{
    if (later.has(usage_field::cache_creation_5m) || later.has(usage_field::cache_creation_1h)) {
        put(usage_field::cache_creation_5m, 0);
        put(usage_field::cache_creation_1h, 0);
    }
    for (size_t i = 0; i < static_cast<size_t>(usage_field::count); ++i) {
        const auto field = static_cast<usage_field>(i);
        if (later.has(field) && (later.value[i] != 0 || !is_of_prompt(field))) {
            value[i] = later.value[i];
        }
    }
    seen |= later.seen;
}

bool usage_fields::tells_zero() const
{
    return (has(usage_field::prompt) || has(usage_field::input))
           && (has(usage_field::completion) || has(usage_field::output)) && !counts().any();
}

usage_counts usage_fields::counts() const
{
    const usage_fields& of = *this;
    const bool has_others = seen >> (static_cast<unsigned>(usage_field::total) + 1) != 0;
    uint32_t creation = 0;
    usage_counts c;
    c.prompt = of[usage_field::prompt];
    c.completion = of[usage_field::completion];
    if (has_others) {
        creation = of[usage_field::cache_creation];
        if (creation == 0) {
            creation = sum(of[usage_field::cache_creation_5m], of[usage_field::cache_creation_1h]);
        }
        // Servers that have both sets of names may leave one of them at 0.
        if (c.prompt == 0) {
            c.prompt = sum(of[usage_field::input], sum(of[usage_field::cache_read], creation));
        }
        c.prompt = sum(c.prompt, of[usage_field::beside_prompt]);
        c.completion =
            sum(c.completion != 0 ? c.completion : of[usage_field::output], of[usage_field::thoughts]);
    }
    // Rerank servers may send the total alone: all of it is input. Else what the total has more was
    // generated: some count reasoning beside the completion.
    const uint32_t total = of[usage_field::total];
    if (c.prompt == 0) {
        c.prompt = above(total, c.completion);
    } else if (total > sum(c.prompt, c.completion)) {
        c.completion = total - c.prompt;
    }
    if (has_others) {
        c.cached = std::min(std::max(of[usage_field::cached], of[usage_field::cache_read]), c.prompt);
        c.cache_write = std::min(std::max(of[usage_field::cache_write], creation), c.prompt - c.cached);
        c.reasoning = std::min(std::max(of[usage_field::reasoning], of[usage_field::thoughts]), c.completion);
    }
    return c;
}

} // namespace llm
