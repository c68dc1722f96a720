#include "chain_writer.h"

#include "core/base/json_text.h"

namespace llm {

namespace {

constexpr size_t buffer_bytes = 16384;

}

ngx_chain_t* chain_writer::new_link(size_t size)
{
    if (sent_ && static_cast<size_t>(sent_->buf->end - sent_->buf->start) >= size) {
        ngx_chain_t* link = sent_;
        sent_ = link->next;
        return link;
    }
    ngx_chain_t* link = ngx_alloc_chain_link(pool_);
    ngx_buf_t* buffer = ngx_create_temp_buf(pool_, ngx_max(size, buffer_bytes));
    if (!link || !buffer) {
        failed_ = true;
        return nullptr;
    }
    buffer->tag = tag();
    link->buf = buffer;
    return link;
}

void chain_writer::close_buffer()
{
    length_ += at_ - from_;
    if (last_) {
        last_->buf->last += at_ - from_;
    }
    from_ = at_ = end_ = nullptr;
}

bool chain_writer::next_buffer(size_t size)
{
    ngx_chain_t* link = new_link(size);
    if (!link) {
        return false;
    }
    close_buffer();
    link->next = nullptr;
    (last_ ? last_->next : first_) = link;
    last_ = link;
    from_ = at_ = reinterpret_cast<char*>(link->buf->last);
    end_ = reinterpret_cast<char*>(link->buf->end);
    return true;
}

void chain_writer::put_quoted(std::string_view text)
{
    if (has_room(6 * text.size() + 2)) {
        size_t n = write_json_text(text, at_ + 1);
        at_[0] = at_[n + 1] = '"';
        at_ += n + 2;
    }
}

ngx_chain_t* chain_writer::take()
{
    close_buffer();
    ngx_chain_t* taken = first_;
    first_ = last_ = nullptr;
    length_ = 0;
    return taken;
}

} // namespace llm
