#include "chain_writer.h"

#include "core/base/json_text.h"

namespace llm {

namespace {

constexpr size_t buffer_bytes = 16384;

}

char* chain_writer::room(size_t size)
{
    if (last_ && static_cast<size_t>(last_->buf->end - last_->buf->last) >= size) {
        return reinterpret_cast<char*>(last_->buf->last);
    }
    ngx_chain_t* link = ngx_alloc_chain_link(pool_);
    ngx_buf_t* buffer = ngx_create_temp_buf(pool_, ngx_max(size, buffer_bytes));
    if (!link || !buffer) {
        failed_ = true;
        return nullptr;
    }
    link->buf = buffer;
    link->next = nullptr;
    (last_ ? last_->next : first_) = link;
    last_ = link;
    return reinterpret_cast<char*>(buffer->last);
}

void chain_writer::used(size_t size)
{
    last_->buf->last += size;
    length_ += static_cast<off_t>(size);
}

void chain_writer::put(std::string_view text)
{
    // One without data has no place that may be copied from.
    if (text.empty()) {
        return;
    }
    if (char* at = room(text.size())) {
        ngx_memcpy(at, text.data(), text.size());
        used(text.size());
    }
}

void chain_writer::put(uint64_t number)
{
    if (char* at = room(NGX_INT64_LEN)) {
        auto* begin = reinterpret_cast<u_char*>(at);
        used(static_cast<size_t>(ngx_sprintf(begin, "%uL", number) - begin));
    }
}

void chain_writer::put_quoted(std::string_view text)
{
    if (char* at = room(6 * text.size() + 2)) {
        size_t n = write_json_text(text, at + 1);
        at[0] = at[n + 1] = '"';
        used(n + 2);
    }
}

ngx_chain_t* chain_writer::finish()
{
    if (failed_ || !last_) {
        return nullptr;
    }
    last_->buf->last_buf = 1;
    last_->buf->last_in_chain = 1;
    return first_;
}

} // namespace llm
