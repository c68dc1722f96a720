// Edits of a text that is not here as a whole: one sorted list of what goes and what comes.
#pragma once

#include "byte_range.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// The bytes of `from` become `text`, or what the text that is edited has at `copied`. An insertion has an
// empty `from`.
struct byte_edit {
    byte_range from;
    std::string_view text = {}; // not owned
    byte_range copied = {};

    uint64_t size() const { return text.size() + copied.size(); }
};

// In the order of the text. Where several insert at one place, in the order in which they were added.
template <size_t Max>
class byte_edits {
public:
    byte_edits() {}

    // False if there is no room, or another edit already has some of these bytes, or has its place within
    // them.
    bool add(const byte_edit& edit)
    {
        size_t at = size_;
        while (at != 0 && edit.from.begin < edits_[at - 1].from.begin) {
            --at;
        }
        // What replaces bytes comes after what is inserted before them.
        const bool inserts = edit.from.begin == edit.from.end;
        while (inserts && at != 0 && edits_[at - 1].from.begin == edit.from.begin
               && edits_[at - 1].from.size() != 0) {
            --at;
        }
        if (size_ == Max || edit.from.end < edit.from.begin
            || (at != 0 && edits_[at - 1].from.end > edit.from.begin)
            || (at != size_ && edit.from.end > edits_[at].from.begin)) {
            return false;
        }
        for (size_t i = size_; i != at; --i) {
            edits_[i] = edits_[i - 1];
        }
        edits_[at] = edit;
        ++size_;
        return true;
    }

    std::span<const byte_edit> all() const { return {edits_, size_}; }
    bool empty() const { return size_ == 0; }

private:
    size_t size_ = 0;
    // A long list takes no time as long as it is short: only the first size_ are set.
    union {
        byte_edit edits_[Max];
    };
};

// Applies a list of edits to a text that passes in pieces. The list must not change meanwhile.
class edit_pass {
public:
    explicit edit_pass(std::span<const byte_edit> edits) : edits_(edits) {}

    // The next piece: calls keep(bytes of it) and put(edit) in the order of what comes out. An edit is put
    // where the bytes that it replaces begin; an insertion at the end of the text only by finish().
    template <typename Keep, typename Put>
    void feed(std::string_view piece, Keep&& keep, Put&& put)
    {
        while (!piece.empty()) {
            uint64_t until = UINT64_MAX; // of what is kept, or goes
            bool goes = false;
            if (next_ != edits_.size()) {
                const byte_range& from = edits_[next_].from;
                if (!is_put_ && from.begin == offset_) {
                    put(edits_[next_]);
                    is_put_ = true;
                }
                if (is_put_ && from.end <= offset_) {
                    ++next_;
                    is_put_ = false;
                    continue;
                }
                goes = is_put_;
                until = is_put_ ? from.end : from.begin;
            }
            const uint64_t n = until - offset_ < piece.size() ? until - offset_ : piece.size();
            if (!goes) {
                keep(piece.substr(0, n));
            }
            piece.remove_prefix(n);
            offset_ += n;
        }
    }
    template <typename Put>
    void finish(Put&& put)
    {
        for (; next_ != edits_.size(); ++next_, is_put_ = false) {
            if (!is_put_) {
                put(edits_[next_]);
            }
        }
    }

private:
    std::span<const byte_edit> edits_;
    size_t next_ = 0;
    bool is_put_ = false; // the next one: what it replaces goes
    uint64_t offset_ = 0;
};

} // namespace llm
