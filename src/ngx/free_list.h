// The memory of requests that have ended, for those that begin, of one worker.
#pragma once

#include "ngx.hpp"

#include <new>

namespace llm {

// All pieces have one size. All zero bytes are a valid initial state.
class free_list {
public:
    // nullptr if there is no memory. The caller owns it until give().
    void* take(size_t size, ngx_log_t* log)
    {
        if (!first_) {
            return ngx_alloc(size, log);
        }
        piece* taken = first_;
        first_ = taken->next;
        pieces_--;
        return taken;
    }

    void give(void* room)
    {
        if (pieces_ == max_pieces) {
            ngx_free(room);
            return;
        }
        first_ = new (room) piece{first_};
        pieces_++;
    }

    // Gives all of it back; a pool's cleanup handler.
    static void free_all(void* data)
    {
        auto& spare = *static_cast<free_list*>(data);
        while (spare.first_) {
            piece* next = spare.first_->next;
            ngx_free(spare.first_);
            spare.first_ = next;
        }
        spare.pieces_ = 0;
    }

private:
    struct piece {
        piece* next;
    };

#if defined(__SANITIZE_ADDRESS__)
    static constexpr ngx_uint_t max_pieces = 0; // or else what is used after its end would not be found
#else
    static constexpr ngx_uint_t max_pieces = 64;
#endif

    piece* first_ = nullptr;
    ngx_uint_t pieces_ = 0;
};

} // namespace llm
