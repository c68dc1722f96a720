// json_scanner's strings: escapes, the text that is kept of them, and names that lead to a path.

#include "bytes.h"
#include "json_scan_run.h"

#include <cstring>

namespace llm {

namespace {

char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool equal_folded(std::string_view a, std::string_view b)
{
    if (a.size() != b.size()) {
        return false;
    }
    for (size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char l = lower(c);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

} // namespace

const char* json_scanner::in_string(const run& r, const char* p, const char* end)
{
    while (p != end) {
        if (escape_ != 0) {
            p = escape(r, p);
            if (step_ == step::failed) {
                return p;
            }
            continue;
        }
        const char* const stop = find_string_stop(p, end);
        if (capture_ && stop != p) {
            put(r, p, static_cast<size_t>(stop - p));
        }
        p = stop;
        if (p == end) {
            return p;
        }
        if (*p == '\\') {
            escape_ = 1;
            ++p;
        } else if (*p == '"') {
            ++p;
            string_ended(r, r.at(p));
            return p;
        } else {
            return fail(p, json_error::syntax);
        }
    }
    return p;
}

// One byte of an escape.
const char* json_scanner::escape(const run& r, const char* p)
{
    if (escape_ == 1) {
        static constexpr std::string_view letters = "\"\\/bfnrt";
        static constexpr char meant[] = {'"', '\\', '/', '\b', '\f', '\n', '\r', '\t'};
        if (*p == 'u') {
            code_ = 0;
            escape_ = 2;
            return p + 1;
        }
        const size_t i = letters.find(*p);
        if (i == std::string_view::npos) {
            return fail(p, json_error::syntax);
        }
        if (capture_) {
            put(r, &meant[i], 1);
        }
        escape_ = 0;
        return p + 1;
    }

    const int digit = hex_value(*p);
    if (digit < 0) {
        return fail(p, json_error::syntax);
    }
    code_ = static_cast<uint16_t>(code_ << 4 | digit);
    if (escape_ != 5) {
        ++escape_;
        return p + 1;
    }
    escape_ = 0;
    if (capture_) {
        if (high_ != 0 && code_ >= 0xdc00 && code_ <= 0xdfff) {
            const uint32_t code = 0x10000u + ((high_ - 0xd800u) << 10) + (code_ - 0xdc00u);
            high_ = 0;
            put_code(r, code);
        } else {
            put_lone_surrogate(r);
            if (code_ >= 0xd800 && code_ <= 0xdbff) {
                high_ = code_;
            } else {
                put_code(r, code_ >= 0xdc00 && code_ <= 0xdfff ? 0xfffd : code_);
            }
        }
    }
    return p + 1;
}

void json_scanner::string_ended(const run& r, uint64_t end)
{
    put_lone_surrogate(r);
    switch (role_) {
    case role::key:
        match_key(r, {text_, text_size_});
        step_ = step::colon;
        break;
    case role::value:
        value_ended(r, json_type::string, {text_, text_size_}, end);
        break;
    case role::skipped:
        step_ = step::skip;
        break;
    }
}

void json_scanner::match_key(const run& r, std::string_view name)
{
    path_ = no_path;
    folded_ = false;
    if (truncated_) {
        return;
    }
    const json_path* child = r.paths + r.paths[container_].first_child;
    const json_path* const last = child + r.paths[container_].children;
    for (; child != last; ++child) {
        if (child->name.size() != name.size() || child->name == json_elements) {
            continue;
        }
        if (!child->any_case && child->name[0] != name[0]) {
            continue;
        }
        const bool same = std::memcmp(child->name.data(), name.data(), name.size()) == 0;
        if (same || (child->any_case && equal_folded(child->name, name))) {
            path_ = static_cast<uint8_t>(child - r.paths);
            folded_ = !same;
            return;
        }
    }
}

// Adds to the text of a key, string or number that is wanted.
void json_scanner::put(const run& r, const char* p, size_t n)
{
    put_lone_surrogate(r);
    while (n != 0) {
        if (text_size_ == max_text) {
            if (role_ == role::key || r.paths[path_].text != json_text::pieces) {
                truncated_ = true;
                return;
            }
            const json_type type = step_ == step::string ? json_type::string : json_type::number;
            emit(r, json_event::what::text, type, {text_, max_text}, 0);
            text_size_ = 0;
        }
        const size_t room = max_text - text_size_;
        const size_t take = n < room ? n : room;
        std::memcpy(text_ + text_size_, p, take);
        text_size_ = static_cast<uint8_t>(text_size_ + take);
        p += take;
        n -= take;
    }
}

void json_scanner::put_code(const run& r, uint32_t code)
{
    char bytes[4];
    size_t n = 0;
    if (code < 0x80) {
        bytes[n++] = static_cast<char>(code);
    } else {
        if (code < 0x800) {
            bytes[n++] = static_cast<char>(0xc0 | code >> 6);
        } else {
            if (code < 0x10000) {
                bytes[n++] = static_cast<char>(0xe0 | code >> 12);
            } else {
                bytes[n++] = static_cast<char>(0xf0 | code >> 18);
                bytes[n++] = static_cast<char>(0x80 | (code >> 12 & 0x3f));
            }
            bytes[n++] = static_cast<char>(0x80 | (code >> 6 & 0x3f));
        }
        bytes[n++] = static_cast<char>(0x80 | (code & 0x3f));
    }
    put(r, bytes, n);
}

// A high surrogate that no low one followed has no UTF-8: it becomes U+FFFD.
void json_scanner::put_lone_surrogate(const run& r)
{
    if (high_ == 0) {
        return;
    }
    high_ = 0;
    put_code(r, 0xfffd);
}

} // namespace llm
