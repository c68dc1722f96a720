#include "prompt_hash.h"

#include "core/base/chars.h"
#include "core/base/hash.h"
#include "core/json/json_bytes.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

namespace llm {

namespace {

// In the order of nothing: their place is hashed too, so no name may change its own.
constexpr std::string_view prompt_members[] = {
    "messages", "system",    "tools", "prompt", "input", "instructions",      "contents",
    "inputs",   "functions", "text",  "suffix", "query", "systemInstruction", "system_instruction"};

// Two odd numbers without a pattern (of the golden ratio, and of the square root of 2).
constexpr uint64_t first_factor = 0x9e3779b97f4a7c15u;
constexpr uint64_t second_factor = 0x6a09e667f3bcc909u;

uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

} // namespace

void prompt_hash::feed(std::string_view piece)
{
    static_assert(std::endian::native == std::endian::little);
    const char* p = piece.data();
    const char* const end = p + piece.size();
    while (p != end && !done()) {
        switch (at_) {
        case at::string:
            p = in_string(p, end);
            break;
        case at::name:
            p = in_name(p, end);
            break;
        case at::escape:
        case at::name_escape:
            if (takes_) {
                put(p, 1);
            }
            at_ = at_ == at::escape ? at::string : at::name;
            p++;
            break;
        default:
            if (!is_space(*p)) {
                structure(*p);
            }
            p++;
        }
    }
}

const char* prompt_hash::in_string(const char* p, const char* end)
{
    const char* to = find_string_stop(p, end);
    if (to != end) {
        at_ = *to == '"' ? at::value : *to == '\\' ? at::escape : at::string;
        to++;
    }
    if (takes_) {
        put(p, static_cast<size_t>(to - p));
    }
    return to;
}

// Of a member of the root.
const char* prompt_hash::in_name(const char* p, const char* end)
{
    for (; p != end; p++) {
        if (*p == '"') {
            at_ = at::colon;
            return p + 1;
        }
        if (name_size_ < longest_name) {
            name_[name_size_++] = *p;
        }
        if (*p == '\\') {
            at_ = at::name_escape;
            return p + 1;
        }
    }
    return p;
}

void prompt_hash::structure(char c)
{
    if (at_ == at::key && c == '"') {
        at_ = at::name;
        name_size_ = 0;
        return;
    }
    if (at_ == at::colon) {
        at_ = at::value;
        begin_member();
        return;
    }
    if (c == '}' || c == ']') {
        depth_ -= depth_ != 0;
    }
    if (depth_ <= 1 && (c == ',' || c == '}') && (c == ',' || depth_ == 0)) {
        takes_ = false;
        at_ = at::key;
        return;
    }
    if (takes_) {
        put(&c, 1);
    }
    if (c == '{' || c == '[') {
        at_ = depth_++ == 0 ? at::key : at::value;
    } else if (c == '"') {
        at_ = at::string;
    }
}

void prompt_hash::begin_member()
{
    const std::string_view name(name_, name_size_);
    const auto* found = std::find(std::begin(prompt_members), std::end(prompt_members), name);
    takes_ = found != std::end(prompt_members);
    if (takes_) {
        // No byte of UTF-8: so where a member ends and which comes next is told from what stands in one.
        const char mark[] = {'\xff', static_cast<char>(found - std::begin(prompt_members))};
        put(mark, sizeof mark);
    }
}

void prompt_hash::put(const char* p, size_t n)
{
    for (; n != 0 && pending_ != 0; p++, n--) {
        word_ |= uint64_t{static_cast<uint8_t>(*p)} << (8 * pending_);
        if (++pending_ == sizeof word_) {
            pending_ = 0;
            put_word(word_);
            word_ = 0;
        }
    }
    for (; n >= sizeof word_ && !done(); p += sizeof word_, n -= sizeof word_) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        put_word(word);
    }
    if (done()) {
        return;
    }
    for (; n != 0; p++, n--) {
        word_ |= uint64_t{static_cast<uint8_t>(*p)} << (8 * pending_++);
    }
}

void prompt_hash::put_word(uint64_t word)
{
    if (done()) {
        return;
    }
    hash_ = mix(hash_ ^ word ^ second_factor, first_factor) + word;
    size_ += sizeof word;
    if (size_ == boundaries[reached_]) {
        noted_[reached_++] = hash_;
    }
}

uint64_t prompt_hash::value(std::string_view model) const
{
    const uint64_t start = reached_ != 0
                               ? noted_[reached_ - 1]
                               : mix(hash_ ^ word_ ^ second_factor, first_factor) + word_ + pending_;
    return mix(start ^ second_factor, name_hash(model) | 1) ^ mix(start + first_factor, second_factor);
}

} // namespace llm
