// An edit of a request's JSON object that leaves every byte that stays at its offset: what goes becomes white
// space, what comes stands at the end of the root object. So a body can be edited where nginx keeps it, in
// memory or in a file, and stays in one piece: nginx sends a body again to the next upstream only if its
// file is not cut up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

struct body_range {
    uint64_t begin;
    uint64_t end;
};

class body_edit {
public:
    static constexpr size_t max_blanks = 4;
    static constexpr size_t max_blank = 1024; // bytes of one range
    static constexpr size_t max_tail = 256;

    // `root_end` is the offset of the brace that closes the root object.
    explicit body_edit(uint64_t root_end) : root_end_(root_end) {}

    // The bytes of this range become white space. False if there is no room for it.
    bool blank(body_range range)
    {
        if (blank_count_ == max_blanks || range.end - range.begin > max_blank) {
            return false;
        }
        blanks_[blank_count_++] = range;
        return true;
    }

    // Puts text before the closing brace. False if there is no room for all of it.
    bool append(std::string_view text)
    {
        if (text.size() > max_tail - tail_size_) {
            return false;
        }
        text.copy(&tail_[tail_size_ - 1], text.size());
        tail_size_ += text.size();
        tail_[tail_size_ - 1] = '}';
        return true;
    }

    std::span<const body_range> blanks() const { return {blanks_.data(), blank_count_}; }
    // The body is kept up to here; tail() follows, and nothing of what was there.
    uint64_t keep() const { return root_end_; }
    // The appended text and the closing brace.
    std::string_view tail() const { return {tail_.data(), tail_size_}; }
    // Of the edited body.
    uint64_t size() const { return root_end_ + tail_size_; }

private:
    uint64_t root_end_;
    size_t blank_count_ = 0;
    size_t tail_size_ = 1;
    std::array<body_range, max_blanks> blanks_;
    std::array<char, max_tail> tail_{'}'};
};

} // namespace llm
