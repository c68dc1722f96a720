// The buffers of a reply that have to be read, of all that come.
#pragma once

#include "ngx.hpp"

#include "core/usage.h"

namespace llm {

inline std::string_view bytes_of(const ngx_buf_t* b)
{
    return ngx_buf_in_memory(b)
               ? std::string_view{reinterpret_cast<char*>(b->pos), static_cast<size_t>(b->last - b->pos)}
               : std::string_view{};
}

// Goes through a chain, and past the buffers in it that the reader passes over. It asks for many at a time:
// one read of a stream at line rate brings dozens of chunks, each a buffer of its own.
class reply_walk {
public:
    reply_walk(usage_reader& reader, ngx_chain_t* in) : reader_(reader), at_(in) {}

    // The next link whose buffer the reader has not taken; nullptr: there is none. The one with the reply's
    // end is never passed over.
    ngx_chain_t* next()
    {
        for (;;) {
            if (first_ == end_) {
                if (!at_) {
                    return nullptr;
                }
                gather();
            }
            for (size_t passed = reader_.pass({pieces_ + first_, end_ - first_}); passed != 0; --passed) {
                at_ = at_->next;
                ++first_;
            }
            if (first_ != end_) {
                ngx_chain_t* link = at_;
                at_ = at_->next;
                ++first_;
                return link;
            }
        }
    }

private:
    static constexpr size_t max_pieces = 64;

    void gather()
    {
        first_ = end_ = 0;
        for (const ngx_chain_t* cl = at_; cl && end_ != max_pieces; cl = cl->next) {
            pieces_[end_++] = cl->buf->last_buf ? std::string_view{} : bytes_of(cl->buf);
        }
    }

    usage_reader& reader_;
    ngx_chain_t* at_; // of pieces_[first_]
    size_t first_ = 0;
    size_t end_ = 0;
    std::string_view pieces_[max_pieces];
};

} // namespace llm
