// Text of any length into a chain of buffers of the request's pool.
#pragma once

#include "ngx.hpp"

#include "core/base/number_text.h"

namespace llm {

class chain_writer {
public:
    explicit chain_writer(ngx_pool_t* pool) : pool_(pool) {}

    void put(std::string_view text)
    {
        // One without data has no place that may be copied from.
        if (!text.empty() && has_room(text.size())) {
            ngx_memcpy(at_, text.data(), text.size());
            at_ += text.size();
        }
    }
    void put(uint64_t number)
    {
        if (has_room(max_number)) {
            at_ = put_number(at_, number);
        }
    }
    // As a JSON string, with its quotes.
    void put_quoted(std::string_view text);

    // Takes what was written out of it; nullptr if that is nothing. `length()` begins anew.
    ngx_chain_t* take();
    // Buffers of what was taken that have been sent are put here, and are used again.
    ngx_chain_t*& sent() { return sent_; }
    // The mark of its buffers.
    static ngx_buf_tag_t tag() { return &ngx_http_llm_module; }

    off_t length() const { return length_ + (at_ - from_); }
    // Memory ran out: what was written is not whole.
    bool failed() const { return failed_; }

private:
    // Room for `size` bytes in one piece at `at_`; false if there is no memory.
    bool has_room(size_t size) { return static_cast<size_t>(end_ - at_) >= size ? true : next_buffer(size); }
    bool next_buffer(size_t size);
    ngx_chain_t* new_link(size_t size);
    void close_buffer();

    ngx_pool_t* pool_;
    // The last buffer: what is written there, and where it ends.
    char* from_ = nullptr;
    char* at_ = nullptr;
    char* end_ = nullptr;
    ngx_chain_t* first_ = nullptr;
    ngx_chain_t* last_ = nullptr;
    ngx_chain_t* sent_ = nullptr;
    off_t length_ = 0; // of the buffers before
    bool failed_ = false;
};

} // namespace llm
