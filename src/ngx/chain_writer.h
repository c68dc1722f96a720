// Text of any length into a chain of buffers of the request's pool.
#pragma once

#include "ngx.hpp"

namespace llm {

class chain_writer {
public:
    explicit chain_writer(ngx_pool_t* pool) : pool_(pool) {}

    void put(std::string_view text);
    void put(uint64_t number);
    // As a JSON string, with its quotes.
    void put_quoted(std::string_view text);

    // The chain, with its last buffer marked as a reply's last; nullptr if memory ran out on the way.
    ngx_chain_t* finish();
    off_t length() const { return length_; }

private:
    // Room for `size` bytes in one buffer; nullptr if there is no memory.
    char* room(size_t size);
    void used(size_t size);

    ngx_pool_t* pool_;
    ngx_chain_t* first_ = nullptr;
    ngx_chain_t* last_ = nullptr;
    off_t length_ = 0;
    bool failed_ = false;
};

} // namespace llm
