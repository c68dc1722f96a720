// An edit of a request's JSON object that leaves every byte that stays at its offset: what goes becomes white
// space or a text that is no longer, all else that comes is put at the end of the root object. So a body can
// be edited where nginx keeps it, in memory or in a file, and stays in one piece: nginx sends a body again to
// the next upstream only if its file is not cut up.
#pragma once

#include "core/base/byte_edit.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

class body_edit {
public:
    static constexpr size_t max_edits = 512; // with the one that the tail ends with

    // `root_end` is the offset of the brace that closes the root object.
    explicit body_edit(uint64_t root_end) : root_end_(root_end)
    {
        edits_.add({{root_end, root_end + 1}, "}"});
    }

    // The bytes of this range become the text, which has to live as long as the edit, and white space. False
    // if the text is longer, or byte_edits::add says so.
    bool replace(byte_range range, std::string_view text)
    {
        return range.end <= root_end_ && text.size() <= range.size() && edits_.add({range, text});
    }
    bool blank(byte_range range) { return replace(range, {}); }

    // Puts text before the closing brace, which has to live as long as the edit. False if there is no room
    // for one more piece.
    bool append(std::string_view text) { return put_before_end({{root_end_, root_end_}, text}); }
    // The same with bytes of the body, from before that brace; they may be replaced.
    bool append(byte_range range) { return put_before_end({{root_end_, root_end_}, {}, range}); }

    // All of it, in the order of the body.
    std::span<const byte_edit> all() const { return edits_.all(); }
    // What is written over bytes of the body, and filled up with white space.
    std::span<const byte_edit> in_place() const { return all().first(all().size() - tail_pieces_); }
    // The body is kept up to here; tail() follows, and nothing of what was there.
    uint64_t keep() const { return root_end_; }
    // What was appended, and the closing brace. To be read from the body before anything is written over it.
    std::span<const byte_edit> tail() const { return all().last(tail_pieces_); }
    uint64_t tail_size() const { return tail_size_; }
    // Of the edited body.
    uint64_t size() const { return root_end_ + tail_size_; }

private:
    bool put_before_end(const byte_edit& piece)
    {
        if (piece.size() == 0) {
            return true;
        }
        if (!edits_.add(piece)) {
            return false;
        }
        ++tail_pieces_;
        tail_size_ += piece.size();
        return true;
    }

    uint64_t root_end_;
    uint64_t tail_size_ = 1;
    size_t tail_pieces_ = 1;
    byte_edits<max_edits> edits_;
};

} // namespace llm
