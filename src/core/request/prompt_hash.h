// A hash of the start of a request's prompt, read as the body arrives, in any pieces: requests that begin
// alike find the server that has this beginning in its cache.
//
// Hashed are the values of the members that make a prompt, in the order in which they come, without the white
// space between their parts: however the JSON is spaced, and whatever stands beside them (a temperature, a
// user), the same prompt has the same hash. It is noted where the prompt has grown to certain sizes, since
// only as much as two prompts have in common can be in a cache for both.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// All zero bytes are a valid initial state. It is no check of the JSON: of what is none, the hash has no
// meaning.
class prompt_hash {
public:
    // Bytes of the prompt after which it is noted: so close that not much of a cache is lost, and so few that
    // they are known in little room.
    static constexpr std::array<uint32_t, 16> boundaries = {
        1 << 10,  2 << 10,  4 << 10,  8 << 10,   12 << 10,  16 << 10,  24 << 10,  32 << 10,
        48 << 10, 64 << 10, 96 << 10, 128 << 10, 192 << 10, 256 << 10, 384 << 10, 512 << 10};

    void feed(std::string_view piece);

    // Whether there was a prompt.
    bool any() const { return size_ != 0 || pending_ != 0; }
    // Those at the boundaries that the prompt has reached.
    std::span<const uint64_t> noted() const { return {noted_.data(), reached_}; }
    // Of the prompt up to the last boundary that it has reached, or of all of it where it is shorter than the
    // first; of this model.
    uint64_t value(std::string_view model) const;

private:
    enum class at : uint8_t { value, key, name, colon, string, escape, name_escape };

    static constexpr size_t longest_name = 24;

    bool done() const { return reached_ == boundaries.size(); }
    const char* in_string(const char* p, const char* end);
    const char* in_name(const char* p, const char* end);
    void structure(char c);
    void begin_member();
    void put(const char* p, size_t n);
    void put_word(uint64_t word);

    uint64_t hash_ = 0;
    uint64_t word_ = 0; // the bytes since the last whole word
    uint32_t size_ = 0; // of the prompt, in whole words, in bytes
    uint32_t depth_ = 0;
    uint8_t pending_ = 0; // bytes in word_
    uint8_t reached_ = 0; // boundaries
    uint8_t name_size_ = 0;
    at at_ = at::value;
    bool takes_ = false; // the member of the root that is read makes a prompt
    char name_[longest_name];
    std::array<uint64_t, boundaries.size()> noted_;
};

} // namespace llm
