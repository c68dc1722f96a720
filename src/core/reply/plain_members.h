// Goes through the members of a JSON object that are plain: names and strings without escapes, and other
// scalars as servers write them. What is not plain is left for the scanner. Internal to the probes.
#pragma once

#include "core/base/bytes.h"
#include "core/base/chars.h"
#include "core/json/json_bytes.h"
#include "core/json/string_text.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// The brackets that are open, the first of them of an object or else a list: a bit each.
class open_brackets {
public:
    explicit open_brackets(bool object) : bits_(object ? 1 : 0) {}

    // Takes the next bracket. False if it does not fit, or is one too many.
    bool take(char bracket)
    {
        const uint64_t is_object = static_cast<uint8_t>(bracket) >> 5 & 1;
        if ((bracket & 2) != 0) {
            bits_ = bits_ << 1 | is_object;
            return ++depth_ <= most;
        }
        const bool fits = (bits_ & 1) == is_object;
        bits_ >>= 1;
        --depth_;
        return fits;
    }
    bool closed() const { return depth_ == 0; }

private:
    static constexpr unsigned most = 64;

    uint64_t bits_;
    unsigned depth_ = 1;
};

// A place in the text, behind which bytes up to `end` can be read. What takes something moves it behind that
// and blanks that follow, or else returns false, and then the place says nothing any more.
class plain_members {
public:
    // `lines`: line ends are blanks as well.
    plain_members(const char* p, const char* end, bool lines) : p_(p), end_(end), lines_(lines)
    {
        pass_blanks();
    }

    static constexpr ptrdiff_t max_digits = 9; // of a count

    const char* at() const { return p_; }
    const char* end() const { return end_; }
    void go_on_at(const char* p)
    {
        p_ = p;
        pass_blanks();
    }
    // The byte that comes next; NUL at the end.
    char next() const { return p_ != end_ ? *p_ : '\0'; }
    bool take(char c)
    {
        if (next() != c) {
            return false;
        }
        ++p_;
        pass_blanks();
        return true;
    }
    // A name and its colon.
    bool take_name(std::string_view& name) { return take_string(name) && take(':'); }
    bool take_string(std::string_view& text)
    {
        if (next() != '"') {
            return false;
        }
        const char* const begin = p_ + 1;
        p_ = find_string_stop(begin, end_);
        text = {begin, static_cast<size_t>(p_ - begin)};
        return take('"');
    }
    // A list or an object, whatever is in it: of that only strings and brackets are looked at.
    bool take_container()
    {
        open_brackets open(next() == '{');
        for (++p_; (p_ = find_nesting_stop(p_, end_)) != end_; ++p_) {
            if (*p_ == '"') {
                uint64_t surplus = 0;
                p_ = past_string_text(p_ + 1, end_, surplus);
                if (next() != '"') {
                    return false;
                }
            } else if (*p_ == '\0' || !open.take(*p_)) {
                return false;
            } else if (open.closed()) {
                ++p_;
                pass_blanks();
                return true;
            }
        }
        return false;
    }
    // Any value, but for numbers with an exponent.
    bool take_value()
    {
        if (next() == '"') {
            uint64_t surplus = 0;
            p_ = past_string_text(p_ + 1, end_, surplus);
            return take('"');
        }
        return next() == '{' || next() == '[' ? take_container() : take_null() || take_other_scalar();
    }
    // These very bytes; if they do not come next, the place stays.
    template <size_t N>
    bool take_text(const char (&text)[N])
    {
        constexpr size_t size = N - 1;
        if (static_cast<size_t>(end_ - p_) < size || __builtin_memcmp(p_, text, size) != 0) {
            return false;
        }
        p_ += size;
        pass_blanks();
        return true;
    }
    bool take_null() { return take_text("null"); }
    // A whole number of no more than max_digits.
    bool take_count(uint32_t& count)
    {
        const char* const begin = p_;
        count = 0;
        for (; is_digit(next()) && p_ - begin < max_digits; ++p_) {
            count = count * 10 + static_cast<uint32_t>(*p_ - '0');
        }
        return ends_number(begin);
    }
    // A number without an exponent, true or false.
    bool take_other_scalar()
    {
        if (take_text("true") || take_text("false")) {
            return true;
        }
        p_ += next() == '-' ? 1 : 0;
        const char* const begin = p_;
        p_ = find_digits_end(p_, end_);
        if (next() != '.' || p_ == begin) {
            return ends_number(begin);
        }
        const char* const point = p_;
        p_ = find_digits_end(p_ + 1, end_);
        return p_ != point + 1 && (*begin != '0' || point == begin + 1) && ends_scalar();
    }

private:
    void pass_blanks()
    {
        while (p_ != end_ && *p_ <= ' ' && (lines_ ? is_space(*p_) : *p_ == ' ')) {
            ++p_;
        }
    }
    bool ends_scalar()
    {
        pass_blanks();
        return next() == ',' || next() == '}';
    }
    bool ends_number(const char* begin)
    {
        return p_ != begin && (p_ == begin + 1 || *begin != '0') && ends_scalar();
    }

    const char* p_;
    const char* const end_;
    const bool lines_;
};

} // namespace llm
