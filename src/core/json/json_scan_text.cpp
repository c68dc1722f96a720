// json_scanner's strings: escapes, and the text that is kept of them. And what it skips.

#include "core/base/bytes.h"
#include "core/base/chars.h"
#include "core/base/utf8.h"
#include "json_bytes.h"
#include "json_scan_run.h"
#include "json_scan_values.h"
#include "string_text.h"

#include <cstring>

namespace llm {

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
        const char* const limit = capture_ ? within(p, end) : end;
        const char* const stop = capture_ ? find_string_stop(p, limit) : past_string_text(p, end, surplus_);
        if (capture_ && stop != p) {
            put(r, p, static_cast<size_t>(stop - p));
            capture_ = !truncated_;
        }
        p = stop;
        if (p == limit) {
            continue;
        }
        if (*p == '\\') {
            escape_ = 1;
            ++p;
        } else if (*p == '"') {
            ++p;
            string_ended(r, r.at(p));
            return p;
        } else if (strict_) {
            return fail(p, json_error::syntax);
        } else {
            // A control character that is not escaped: replies have them, and their counts are to be read.
            if (capture_) {
                put(r, p, 1);
            }
            ++p;
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
        ++surplus_;
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
    surplus_ += 6 - utf8_size_of_escape(code_);
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
                if (code_ >= 0xdc00 && code_ <= 0xdfff) {
                    put_lost(r);
                } else {
                    put_code(r, code_);
                }
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
        key_ended(r);
        key_end_ = end;
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
    put(r, bytes, put_utf8(bytes, code));
}

// A high surrogate that no low one followed has no UTF-8: it becomes U+FFFD.
void json_scanner::put_lone_surrogate(const run& r)
{
    if (high_ == 0) {
        return;
    }
    high_ = 0;
    put_lost(r);
}

// A strict scan drops it from names, as some parsers do.
void json_scanner::put_lost(const run& r)
{
    if (strict_ && role_ == role::key) {
        folded_ = true;
    } else {
        put_code(r, 0xfffd);
    }
}

const char* json_scanner::in_skip(const run& r, const char* p, const char* end)
{
    const char* blocks_from = p;
    for (;;) {
        if (p >= blocks_from && end - p >= 32) {
            p = skip_blocks(r, p, end);
            if (step_ == step::string) {
                p = in_string(r, p, end);
                if (step_ == step::skip) {
                    continue;
                }
            }
            if (step_ != step::skip) {
                return p;
            }
            // Not again of the same block.
            blocks_from = end - p > 32 ? p + 32 : end;
        }
        p = find_nesting_stop(p, end);
        if (p == end) {
            return p;
        }
        if (*p == '\0') {
            return fail(p, json_error::syntax);
        }
        if (*p == '"') {
            role_ = role::skipped;
            capture_ = false;
            step_ = step::string;
            p = in_string(r, p + 1, end);
            if (step_ != step::skip) {
                return p;
            }
        } else {
            if (!skip_bracket(r, p)) {
                return step_ == step::failed ? p : p + 1;
            }
            ++p;
        }
    }
}

// Takes blocks, up to one that has to be read byte by byte, to an error or the end of what is skipped. May
// stop in a string.
const char* json_scanner::skip_blocks([[maybe_unused]] const run& r, const char* p,
                                      [[maybe_unused]] const char* end)
{
#if defined(__SSE2__)
    uint32_t inside = 0;
    int plain_blocks = 0; // before this one
    for (; end - p >= json_block::size; p += json_block::size) {
        const json_block block(p);
        // The end of a long string, or of many numbers, is found faster without blocks.
        if (block.quotes == 0 && (inside != 0 || block.brackets == 0)) {
            if (block.stops != 0 || plain_blocks == 2) {
                break;
            }
            ++plain_blocks;
            continue;
        }
        plain_blocks = 0;
        const uint32_t strings = block.quotes == 0 ? 0 : block.strings(inside);
        if ((block.stops & strings) != 0 || block.nul) {
            break;
        }
        for (uint32_t at = block.brackets & ~strings; at != 0; at &= at - 1) {
            const char* const bracket = p + __builtin_ctz(at);
            if (!skip_bracket(r, bracket)) {
                return step_ == step::failed ? bracket : bracket + 1;
            }
        }
        inside = strings >> 31 != 0 ? UINT32_MAX : 0;
    }
    if (inside != 0) {
        role_ = role::skipped;
        capture_ = false;
        step_ = step::string;
    }
#endif
    return p;
}

} // namespace llm
