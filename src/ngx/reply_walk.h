// The buffers of a reply that have to be read, of all that come.
#pragma once

#include "ngx.hpp"

#include "core/reply/usage.h"

namespace llm {

inline std::string_view bytes_of(const ngx_buf_t* b)
{
    return ngx_buf_in_memory(b)
               ? std::string_view{reinterpret_cast<char*>(b->pos), static_cast<size_t>(b->last - b->pos)}
               : std::string_view{};
}

// Where a reply is not buffered, the upstream's read buffer is handed on in parts, which say that they are
// not to be written to; but nobody else reads them. `upstream` is their tag.
inline bool is_writable(const ngx_buf_t* b, ngx_buf_tag_t upstream)
{
    return b->temporary || b->tag == upstream;
}

// Takes the bytes out of the buffer that are not for the client.
inline void erase(ngx_buf_t* b, const reply_piece& piece)
{
    if (piece.erase_end != 0) {
        ngx_memmove(b->pos + piece.erase_begin, b->pos + piece.erase_end, piece.size - piece.erase_end);
        b->last -= piece.erase_end - piece.erase_begin;
        b->in_file = 0;
    }
}

// Goes through a chain, and past the buffers in it that the reader passes over, less what it erases from
// them. It asks for many at a time: one read of a stream at line rate brings dozens of chunks, each a buffer
// of its own.
class reply_walk {
public:
    // `own`: the tag of buffers that may be written to although they say nothing of it. Without it nothing is
    // erased.
    reply_walk(usage_reader& reader, ngx_chain_t* in, ngx_buf_tag_t own = nullptr)
        : reader_(reader), at_(in), own_(own)
    {
    }

    // The next link whose buffer the reader has not taken; nullptr: there is none. The one with the reply's
    // end is never passed over, nor is any if not `may_pass`.
    ngx_chain_t* next(bool may_pass = true)
    {
        passed_ = nullptr;
        for (;;) {
            if (first_ == end_) {
                if (!at_ || !may_pass || !reader_.may_pass()) {
                    ngx_chain_t* link = at_;
                    at_ = at_ ? at_->next : nullptr;
                    return link;
                }
                gather();
            }
            size_t passed = may_pass ? reader_.pass({pieces_ + first_, end_ - first_}) : 0;
            for (; passed != 0; --passed) {
                erase(at_->buf, pieces_[first_]);
                passed_ = at_;
                step();
            }
            if (first_ != end_) {
                ngx_chain_t* link = at_;
                step();
                return link;
            }
        }
    }

    // The last of the links that the last next() passed over; nullptr: it passed over none.
    ngx_chain_t* last_passed() const { return passed_; }

private:
    static constexpr size_t max_pieces = 64;

    void step()
    {
        at_ = at_->next;
        ++first_;
    }

    void gather()
    {
        first_ = end_ = 0;
        for (const ngx_chain_t* cl = at_; cl && end_ != max_pieces; cl = cl->next) {
            const bool is_other = cl->buf->last_buf || (own_ && !is_writable(cl->buf, own_));
            const std::string_view bytes = is_other ? std::string_view{} : bytes_of(cl->buf);
            pieces_[end_++] = {bytes.data(), bytes.size(), 0, 0};
        }
    }

    usage_reader& reader_;
    ngx_chain_t* at_; // of pieces_[first_]
    ngx_chain_t* passed_ = nullptr;
    ngx_buf_tag_t own_;
    size_t first_ = 0;
    size_t end_ = 0;
    reply_piece pieces_[max_pieces];
};

} // namespace llm
