#include "reply_script.h"

#include <algorithm>
#include <random>

namespace soak {

namespace {

std::string hex(std::size_t n)
{
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    do {
        text.insert(text.begin(), digits[n % 16]);
        n /= 16;
    } while (n != 0);
    return text;
}

} // namespace

std::size_t framed_reply::begun(std::size_t n) const
{
    return static_cast<std::size_t>(std::ranges::lower_bound(begins, n) - begins.begin());
}

framed_reply frame(const script& s, std::uint64_t seed)
{
    std::string body;
    std::vector<std::size_t> begins;
    for (const piece& p : s.pieces) {
        begins.push_back(body.size());
        body += p.bytes;
    }
    framed_reply out;
    out.bytes = "HTTP/1.1 200 OK\r\nContent-Type: " + s.type + "\r\n" + s.more_head;
    const bool chunked = !s.border.empty();
    out.bytes += chunked ? "Transfer-Encoding: chunked\r\n\r\n"
                         : "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    out.head = out.bytes.size();
    std::mt19937_64 engine(seed);
    auto next = begins.begin();
    for (std::size_t at = 0; at < body.size();) {
        const std::size_t size =
            chunked ? std::min<std::size_t>(1 + engine() % 400, body.size() - at) : body.size();
        if (chunked) {
            out.bytes += hex(size) + "\r\n";
        }
        for (; next != begins.end() && *next < at + size; ++next) {
            out.begins.push_back(out.bytes.size() + *next - at);
        }
        out.bytes.append(body, at, size);
        if (chunked) {
            out.bytes += "\r\n";
        }
        at += size;
    }
    if (chunked) {
        out.bytes += "0\r\n\r\n";
    }
    return out;
}

} // namespace soak
