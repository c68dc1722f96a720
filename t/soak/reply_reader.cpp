#include "reply_reader.h"

#include <algorithm>
#include <cstdlib>

namespace soak {

void reply_reader::feed(std::string_view bytes)
{
    received_ += bytes.size();
    while (!bytes.empty() && part_ != part::done) {
        step(bytes);
    }
}

// Takes bytes to the end of a line; true when it is whole.
bool reply_reader::line(std::string_view& bytes)
{
    const std::size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    bytes.remove_prefix(end == bytes.npos ? bytes.size() : end + 1);
    return end != bytes.npos;
}

void reply_reader::step(std::string_view& bytes)
{
    switch (part_) {
    case part::head:
        if (line(bytes)) {
            line_ += '\n';
            if (line_.ends_with("\r\n\r\n")) {
                read_head(line_);
                line_.clear();
            }
        }
        break;
    case part::sized:
    case part::chunk: {
        const std::size_t n = std::min<std::uint64_t>(bytes.size(), left_);
        // Less the line's end after a chunk.
        const std::size_t end = part_ == part::chunk ? 2 : 0;
        body_ += bytes.substr(0, std::min<std::uint64_t>(n, left_ - std::min<std::uint64_t>(left_, end)));
        bytes.remove_prefix(n);
        left_ -= n;
        if (left_ == 0) {
            part_ = part_ == part::sized ? part::done : part::chunk_size;
        }
        break;
    }
    case part::chunk_size:
        if (line(bytes)) {
            left_ = std::strtoull(line_.c_str(), nullptr, 16);
            part_ = left_ == 0 ? part::trailer : part::chunk;
            left_ += 2; // the line's end after the chunk
            line_.clear();
        }
        break;
    case part::trailer: // no server here sends any: the empty line
        if (line(bytes)) {
            part_ = part::done;
        }
        break;
    case part::until_close:
        body_ += bytes;
        bytes = {};
        break;
    case part::done:
        break;
    }
}

void reply_reader::read_head(std::string_view head)
{
    status_ = std::atoi(std::string(head.substr(9, 3)).c_str());
    keeps_alive_ = head.find("Connection: close") == head.npos;
    constexpr std::string_view length = "Content-Length: ";
    if (const std::size_t at = head.find(length); at != head.npos) {
        left_ = std::strtoull(head.data() + at + length.size(), nullptr, 10);
        part_ = left_ == 0 ? part::done : part::sized;
    } else if (head.find("Transfer-Encoding: chunked") != head.npos) {
        part_ = part::chunk_size;
    } else {
        part_ = part::until_close;
    }
}

} // namespace soak
