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

// A part of what is appended: a text, or else bytes of the body as the client wrote them.
struct tail_piece {
    std::string_view text;
    body_range range = {};

    uint64_t size() const { return text.size() + (range.end - range.begin); }
};

class body_edit {
public:
    static constexpr size_t max_blanks = 4;
    static constexpr size_t max_pieces = 14;

    // `root_end` is the offset of the brace that closes the root object.
    explicit body_edit(uint64_t root_end) : root_end_(root_end) {}

    // The bytes of this range become white space. False if there is no room for one more.
    bool blank(body_range range)
    {
        if (blank_count_ == max_blanks) {
            return false;
        }
        blanks_[blank_count_++] = range;
        return true;
    }

    // Puts text before the closing brace, which has to live as long as the edit. False if there is no room
    // for one more piece.
    bool append(std::string_view text) { return put_before_end({text}); }
    // The same with bytes of the body, from before that brace; they may be blanked.
    bool append(body_range range) { return put_before_end({{}, range}); }

    std::span<const body_range> blanks() const { return {blanks_.data(), blank_count_}; }
    // The body is kept up to here; tail() follows, and nothing of what was there.
    uint64_t keep() const { return root_end_; }
    // What was appended, and the closing brace. To be read from the body before anything is blanked.
    std::span<const tail_piece> tail() const { return {pieces_.data(), piece_count_}; }
    uint64_t tail_size() const { return tail_size_; }
    // Of the edited body.
    uint64_t size() const { return root_end_ + tail_size_; }

private:
    bool put_before_end(const tail_piece& piece)
    {
        if (piece.size() == 0) {
            return true;
        }
        if (piece_count_ >= max_pieces) {
            return false;
        }
        pieces_[piece_count_] = pieces_[piece_count_ - 1];
        pieces_[piece_count_++ - 1] = piece;
        tail_size_ += piece.size();
        return true;
    }

    uint64_t root_end_;
    uint64_t tail_size_ = 1;
    size_t blank_count_ = 0;
    size_t piece_count_ = 1;
    std::array<body_range, max_blanks> blanks_;
    std::array<tail_piece, max_pieces> pieces_{{{"}"}}};
};

} // namespace llm
