// Reads HTTP/1.1 replies as they come and checks them against what their X-Bench header promised.
#pragma once

#include "replies.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

class reply_reader {
public:
    enum class status { more, complete, broken };

    // Bytes as received; never more than one reply's bytes (the client does not pipeline).
    status feed(std::string_view bytes);
    // The connection was closed by the other side.
    status end_of_input();
    void reset();
    // A reply with this status is as good as one that keeps its promise. 0: none is.
    void expect_refusal(int code) { refusal_ = code; }

    std::uint64_t events() const { return newlines_ / 2; }
    bool begun() const { return part_ != part::head; }
    bool untouched() const { return part_ == part::head && line_.empty(); }
    bool keeps_alive() const { return keep_alive_; }
    int code() const { return code_; }
    const tokens& promised() const { return promised_; }
    const char* complaint() const { return complaint_; }

private:
    enum class part { head, sized, until_close, chunk_size, chunk_data, chunk_end, trailer, done };

    bool read_head(std::string_view& bytes);
    bool read_chunk_size(std::string_view& bytes);
    void take_payload(std::string_view bytes);
    void take(std::string_view& bytes);
    status finish();
    status broken(const char* why);

    part part_ = part::head;
    std::string line_;
    std::uint64_t left_ = 0;
    std::uint64_t payload_ = 0;
    std::uint64_t newlines_ = 0;
    std::uint64_t promised_bytes_ = 0;
    std::uint64_t promised_events_ = 0;
    tokens promised_;
    char last_[16] = {};
    int code_ = 0;
    int refusal_ = 0;
    bool keep_alive_ = true;
    const char* complaint_ = "";
};

} // namespace bench
