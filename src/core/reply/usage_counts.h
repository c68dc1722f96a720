// What one usage object says, in the names of any API.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

struct json_event;

// Counts of one usage object, each at most max_count.
struct usage_counts {
    static constexpr uint64_t max_count = UINT32_MAX;

    uint32_t prompt = 0;
    uint32_t completion = 0;
    uint32_t cached = 0;      // part of prompt
    uint32_t cache_write = 0; // part of prompt, beside cached
    uint32_t reasoning = 0;   // part of completion

    bool any() const { return (prompt | completion) != 0; }
    // The larger of each.
    void raise(const usage_counts& other);
    // The sum of each, or max_count.
    void add(const usage_counts& other);
};

enum class usage_field : uint8_t {
    prompt,
    completion,
    total,
    input,
    output,
    cached,
    reasoning,
    cache_write,
    cache_read,        // Anthropic's and llama.cpp's: beside the input, not part of it
    cache_creation,    // likewise
    cache_creation_5m, // what that is the sum of
    cache_creation_1h,
    beside_prompt, // Gemini's: what tools brought
    thoughts,      // Gemini's: reasoning beside the completion
    count,
};

// The counts that nearly every usage object has, in OpenAI's names.
struct usage_name {
    std::string_view name;
    usage_field field;
};
inline constexpr usage_name usual_usage[] = {
    {"prompt_tokens", usage_field::prompt},
    {"completion_tokens", usage_field::completion},
    {"total_tokens", usage_field::total},
};

// The fields of an object as they are read. All zero bytes are a valid initial state.
struct usage_fields {
    uint32_t value[static_cast<size_t>(usage_field::count)] = {};
    uint16_t seen = 0; // a bit per field

    usage_fields() = default;
    // Fields that say these counts.
    explicit usage_fields(const usage_counts& counts);

    bool has(usage_field field) const { return (seen >> static_cast<unsigned>(field) & 1) != 0; }
    uint32_t operator[](usage_field field) const { return value[static_cast<size_t>(field)]; }
    void put(usage_field field, uint32_t count)
    {
        value[static_cast<size_t>(field)] = count;
        seen = static_cast<uint16_t>(seen | 1u << static_cast<unsigned>(field));
    }
    // Takes the value that ends with this event: a number, or one in a string; of a fraction what is whole.
    // What is no count is not seen.
    void set(usage_field field, const json_event& event);
    // Takes over what a later object says. Servers that do not know the prompt yet send it as 0, before or
    // after they have sent it right.
    void update(const usage_fields& later);
    usage_counts counts() const;
    // Prompt and completion are told, and 0.
    bool tells_zero() const;
};

} // namespace llm
