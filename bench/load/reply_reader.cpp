#include "reply_reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <strings.h>

namespace bench {
namespace {

std::string_view header(std::string_view head, std::string_view name)
{
    for (std::size_t at = head.find("\r\n"); at != head.npos && at + 2 < head.size();
         at = head.find("\r\n", at + 2)) {
        std::string_view line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
        if (line.size() > name.size() && line[name.size()] == ':'
            && ::strncasecmp(line.data(), name.data(), name.size()) == 0) {
            line.remove_prefix(std::min(line.find_first_not_of(" ", name.size() + 1), line.size()));
            return line;
        }
    }
    return {};
}

std::uint64_t next_number(std::string_view& text, int base = 10)
{
    std::uint64_t value = 0;
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value, base).ptr;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

} // namespace

void reply_reader::reset()
{
    *this = reply_reader();
}

reply_reader::status reply_reader::broken(const char* why)
{
    complaint_ = why;
    return status::broken;
}

bool reply_reader::read_head(std::string_view& bytes)
{
    const std::size_t before = line_.size();
    line_ += bytes;
    const std::size_t end = line_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end == std::string::npos) {
        bytes = {};
        return line_.size() < 65536;
    }
    bytes.remove_prefix(end + 4 - before);
    std::string_view head = std::string_view(line_).substr(0, end + 2);
    if (!head.starts_with("HTTP/1.1 ")) {
        return false;
    }
    std::string_view rest = head.substr(9);
    code_ = static_cast<int>(next_number(rest));
    keep_alive_ = header(head, "connection") != "close";
    std::string_view promise = header(head, "x-bench");
    promised_bytes_ = next_number(promise);
    promised_events_ = next_number(promise);
    promised_.prompt = next_number(promise);
    promised_.completion = next_number(promise);
    if (std::string_view length = header(head, "content-length"); !length.empty()) {
        left_ = next_number(length);
        part_ = left_ == 0 ? part::done : part::sized;
    } else if (header(head, "transfer-encoding") == "chunked") {
        part_ = part::chunk_size;
    } else {
        part_ = part::until_close;
    }
    line_.clear();
    return true;
}

bool reply_reader::read_chunk_size(std::string_view& bytes)
{
    const std::size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    bytes.remove_prefix(end == bytes.npos ? bytes.size() : end + 1);
    if (end == bytes.npos) {
        return line_.size() < 64;
    }
    std::string_view text = line_;
    left_ = next_number(text, 16);
    const bool good = text == "\r";
    line_.clear();
    part_ = left_ == 0 ? part::trailer : part::chunk_data;
    return good;
}

void reply_reader::take_payload(std::string_view bytes)
{
    payload_ += bytes.size();
    for (const char* p = bytes.data();
         (p = static_cast<const char*>(
              std::memchr(p, '\n', static_cast<std::size_t>(bytes.data() + bytes.size() - p))))
         != nullptr;
         ++p) {
        ++newlines_;
    }
    const std::string_view tail = bytes.substr(bytes.size() - std::min(bytes.size(), sizeof last_));
    std::memmove(last_, last_ + tail.size(), sizeof last_ - tail.size());
    std::memcpy(last_ + sizeof last_ - tail.size(), tail.data(), tail.size());
}

void reply_reader::take(std::string_view& bytes)
{
    const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_));
    take_payload(bytes.substr(0, n));
    bytes.remove_prefix(n);
    left_ -= n;
}

reply_reader::status reply_reader::feed(std::string_view bytes)
{
    while (!bytes.empty() && part_ != part::done) {
        switch (part_) {
        case part::head:
            if (!read_head(bytes)) {
                return broken("bad head");
            }
            break;
        case part::until_close:
            take_payload(bytes);
            bytes = {};
            break;
        case part::sized:
            take(bytes);
            part_ = left_ == 0 ? part::done : part_;
            break;
        case part::chunk_size:
            if (!read_chunk_size(bytes)) {
                return broken("bad chunk size");
            }
            break;
        case part::chunk_data:
            take(bytes);
            if (left_ == 0) {
                part_ = part::chunk_end;
                left_ = 2;
            }
            break;
        case part::chunk_end:
        case part::trailer: // of a final chunk: an empty line, since no server here sends trailers
            if (part_ == part::trailer && left_ == 0) {
                left_ = 2;
            }
            if (bytes.front() != (left_ == 2 ? '\r' : '\n')) {
                return broken("bad end of chunk");
            }
            bytes.remove_prefix(1);
            if (--left_ == 0) {
                part_ = part_ == part::trailer ? part::done : part::chunk_size;
            }
            break;
        case part::done:
            break;
        }
    }
    if (!bytes.empty()) {
        return broken("bytes after the reply");
    }
    return part_ == part::done ? finish() : status::more;
}

reply_reader::status reply_reader::end_of_input()
{
    return part_ == part::until_close ? finish() : broken("closed too early");
}

reply_reader::status reply_reader::finish()
{
    if (refusal_ != 0 && code_ == refusal_) {
        return status::complete;
    }
    if (code_ != 200) {
        return broken("status is not 200");
    }
    if (payload_ != promised_bytes_) {
        return broken("payload has another size than was sent");
    }
    if (promised_events_ == 0) {
        return last_[sizeof last_ - 1] == '}' ? status::complete : broken("JSON without an end");
    }
    if (events() != promised_events_) {
        return broken("another number of events than was sent");
    }
    constexpr std::string_view done = "data: [DONE]\n\n";
    return std::string_view(last_, sizeof last_).ends_with(done) ? status::complete : broken("no [DONE]");
}

} // namespace bench
