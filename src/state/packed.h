// Records as bytes, for rows that hold many of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

class packer {
public:
    explicit packer(std::string& to) : to_(to) {}

    // Seven bits a byte, the lowest first.
    packer& number(uint64_t n)
    {
        for (; n >= 0x80; n >>= 7) {
            to_ += static_cast<char>(n | 0x80);
        }
        to_ += static_cast<char>(n);
        return *this;
    }
    packer& text(std::string_view bytes)
    {
        number(bytes.size());
        to_ += bytes;
        return *this;
    }

private:
    std::string& to_;
};

// Reads what a packer wrote. What it gives points into the bytes.
class unpacker {
public:
    explicit unpacker(std::string_view from) : from_(from) {}

    uint64_t number()
    {
        uint64_t n = 0;
        for (unsigned shift = 0; !from_.empty() && shift < 64; shift += 7) {
            const auto byte = static_cast<unsigned char>(from_.front());
            from_.remove_prefix(1);
            n |= uint64_t{byte & 0x7fu} << shift;
            if (byte < 0x80) {
                return n;
            }
        }
        fail();
        return 0;
    }
    std::string_view text()
    {
        const uint64_t size = number();
        if (size > from_.size()) {
            fail();
            return {};
        }
        const std::string_view bytes = from_.substr(0, size);
        from_.remove_prefix(size);
        return bytes;
    }

    bool at_end() const { return from_.empty(); }
    // False once more was read than there is.
    bool ok() const { return ok_; }

private:
    void fail()
    {
        ok_ = false;
        from_ = {};
    }

    std::string_view from_;
    bool ok_ = true;
};

} // namespace llm
