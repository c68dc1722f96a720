// Finds the end of a reply on the client's connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace soak {

class reply_reader {
public:
    void feed(std::string_view bytes);

    bool complete() const { return part_ == part::done; }
    bool keeps_alive() const { return keeps_alive_; }
    std::size_t received() const { return received_; }
    int status() const { return status_; }
    const std::string& body() const { return body_; } // without its framing

private:
    enum class part { head, sized, until_close, chunk_size, chunk, trailer, done };

    void step(std::string_view& bytes);
    void read_head(std::string_view head);
    bool line(std::string_view& bytes);

    part part_ = part::head;
    std::string line_;
    std::string body_;
    std::uint64_t left_ = 0;
    std::size_t received_ = 0;
    int status_ = 0;
    bool keeps_alive_ = true;
};

} // namespace soak
