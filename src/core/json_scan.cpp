#include "json_scan.h"

#include "bytes.h"

#include <cstring>

namespace llm {

namespace {

struct literal {
    std::string_view word;
    json_type type;
};

constexpr literal literals[] = {
    {"null", json_type::null},  {"true", json_type::yes},        {"false", json_type::no},
    {"NaN", json_type::number}, {"Infinity", json_type::number}, {"-Infinity", json_type::number},
};
constexpr uint8_t minus_infinity = 5;

bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool equal_folded(std::string_view a, std::string_view b)
{
    if (a.size() != b.size())
        return false;
    for (size_t i = 0; i < a.size(); ++i)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    const char l = lower(c);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

} // namespace

// What holds during one call of feed.
struct json_scanner::run {
    const json_path* paths;
    json_sink sink;
    const char* begin;
    uint64_t base;

    uint64_t at(const char* p) const { return base + static_cast<uint64_t>(p - begin); }
};

void json_scanner::start(uint64_t offset)
{
    offset_ = offset;
    depth_ = 0;
    step_ = step::top;
    error_ = json_error::none;
    escape_ = 0;
    high_ = 0;
    folded_ = false;
    path_ = 0;
}

json_scanner::status json_scanner::state() const
{
    if (step_ == step::done)
        return status::complete;
    return step_ == step::failed ? status::failed : status::more;
}

size_t json_scanner::feed(std::string_view piece, const json_path* paths, json_sink sink)
{
    const run r{paths, sink, piece.data(), offset_};
    const char* p = piece.data();
    const char* const end = p + piece.size();

    while (p != end) {
        if (step_ == step::string)
            p = in_string(r, p, end);
        else if (step_ == step::skip)
            p = in_skip(r, p, end);
        else if (step_ == step::number)
            p = in_number(r, p, end);
        else if (step_ == step::literal)
            p = in_literal(r, p, end);
        else if (step_ == step::failed)
            break;
        else if (is_space(*p))
            ++p;
        else if (step_ == step::done)
            break;
        else
            p = structure(r, p);
    }

    offset_ = r.at(p);
    return static_cast<size_t>(p - piece.data());
}

json_scanner::status json_scanner::finish(const json_path* paths, json_sink sink)
{
    if (step_ == step::number && depth_ == 0 && number_may_end()) {
        const run r{paths, sink, nullptr, offset_};
        value_ended(r, json_type::number, {text_, text_size_}, offset_);
    }
    return state();
}

const char* json_scanner::fail(const char* p, json_error error)
{
    step_ = step::failed;
    error_ = error;
    return p;
}

// One byte between values, not white space.
const char* json_scanner::structure(const run& r, const char* p)
{
    const char c = *p;
    switch (step_) {
    case step::top:
        key_begin_ = r.at(p);
        return value(r, p);
    case step::first_element:
        if (c == ']')
            return close(r, p);
        [[fallthrough]];
    case step::element: {
        const json_path& in = r.paths[container_];
        const bool wanted = in.children != 0 && r.paths[in.first_child].name == json_elements;
        path_ = wanted ? in.first_child : no_path;
        folded_ = false;
        ++count_[depth_ - 1];
        key_begin_ = r.at(p);
        return value(r, p);
    }
    case step::first_key:
        if (c == '}')
            return close(r, p);
        [[fallthrough]];
    case step::key:
        if (c != '"')
            break;
        ++count_[depth_ - 1];
        key_begin_ = r.at(p);
        role_ = role::key;
        capture_ = true;
        truncated_ = false;
        text_size_ = 0;
        step_ = step::string;
        return p + 1;
    case step::colon:
        if (c != ':')
            break;
        step_ = step::member;
        return p + 1;
    case step::member:
        return value(r, p);
    case step::after_value:
        if (c == ',') {
            comma_ = r.at(p);
            step_ = top_is_object() ? step::key : step::element;
            return p + 1;
        }
        if (c == '}' || c == ']')
            return close(r, p);
        break;
    default:
        break;
    }
    return fail(p, json_error::syntax);
}

// The first byte of a value; path_ says whose.
const char* json_scanner::value(const run& r, const char* p)
{
    const char c = *p;
    if (c == '{' || c == '[')
        return container(r, p);

    value_begin_ = r.at(p);
    role_ = role::value;
    capture_ = path_ != no_path && r.paths[path_].text != json_text::none;
    truncated_ = false;
    text_size_ = 0;
    if (c == '"') {
        step_ = step::string;
        return p + 1;
    }
    if (c == '-' || is_digit(c)) {
        digits_ = c == '-' ? digits::minus : c == '0' ? digits::zero : digits::whole;
        if (capture_)
            put(r, p, 1);
        step_ = step::number;
        return p + 1;
    }
    for (literal_ = 0; literal_ < minus_infinity; ++literal_) {
        if (c == literals[literal_].word[0]) {
            literal_at_ = 1;
            step_ = step::literal;
            return p + 1;
        }
    }
    return fail(p, json_error::syntax);
}

const char* json_scanner::container(const run& r, const char* p)
{
    const bool object = *p == '{';
    value_begin_ = r.at(p);
    if (path_ != no_path)
        emit(r, json_event::what::open, object ? json_type::object : json_type::array, {}, 0);
    if (!push(object))
        return fail(p, json_error::too_deep);
    if (path_ == no_path || r.paths[path_].children == 0) {
        skip_base_ = static_cast<uint16_t>(depth_ - 1);
        step_ = step::skip;
    } else {
        container_ = path_;
        count_[depth_ - 1] = 0;
        step_ = object ? step::first_key : step::first_element;
    }
    return p + 1;
}

// The end of a container that paths lead into.
const char* json_scanner::close(const run& r, const char* p)
{
    if (top_is_object() != (*p == '}'))
        return fail(p, json_error::syntax);
    --depth_;
    path_ = container_;
    container_ = r.paths[path_].parent;
    const json_event event{.is = json_event::what::close,
                           .path = path_,
                           .type = *p == '}' ? json_type::object : json_type::array,
                           .truncated = false,
                           .folded = false,
                           .index = count_[depth_],
                           .text = {},
                           .comma = 0,
                           .key_begin = 0,
                           .value_begin = 0,
                           .value_end = r.at(p) + 1};
    r.sink.take(r.sink.owner, event);
    step_ = depth_ == 0 ? step::done : step::after_value;
    return p + 1;
}

const char* json_scanner::in_skip(const run& r, const char* p, const char* end)
{
    for (;;) {
        p = find_nesting_stop(p, end);
        if (p == end)
            return p;
        switch (*p) {
        case '"':
            role_ = role::skipped;
            capture_ = false;
            step_ = step::string;
            return p + 1;
        case '{':
        case '[':
            if (!push(*p == '{'))
                return fail(p, json_error::too_deep);
            ++p;
            break;
        case '}':
        case ']':
            if (top_is_object() != (*p == '}'))
                return fail(p, json_error::syntax);
            ++p;
            --depth_;
            if (depth_ != skip_base_)
                break;
            if (path_ != no_path) {
                const json_event event{.is = json_event::what::close,
                                       .path = path_,
                                       .type = p[-1] == '}' ? json_type::object : json_type::array,
                                       .truncated = false,
                                       .folded = false,
                                       .index = 0,
                                       .text = {},
                                       .comma = 0,
                                       .key_begin = 0,
                                       .value_begin = 0,
                                       .value_end = r.at(p)};
                r.sink.take(r.sink.owner, event);
            }
            step_ = depth_ == 0 ? step::done : step::after_value;
            return p;
        default:
            return fail(p, json_error::syntax);
        }
    }
}

const char* json_scanner::in_string(const run& r, const char* p, const char* end)
{
    while (p != end) {
        if (escape_ != 0) {
            p = escape(r, p);
            if (step_ == step::failed)
                return p;
            continue;
        }
        const char* const stop = find_string_stop(p, end);
        if (capture_ && stop != p)
            put(r, p, static_cast<size_t>(stop - p));
        p = stop;
        if (p == end)
            return p;
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
        if (i == std::string_view::npos)
            return fail(p, json_error::syntax);
        if (capture_)
            put(r, &meant[i], 1);
        escape_ = 0;
        return p + 1;
    }

    const int digit = hex_value(*p);
    if (digit < 0)
        return fail(p, json_error::syntax);
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
            if (code_ >= 0xd800 && code_ <= 0xdbff)
                high_ = code_;
            else
                put_code(r, code_ >= 0xdc00 && code_ <= 0xdfff ? 0xfffd : code_);
        }
    }
    return p + 1;
}

void json_scanner::string_ended(const run& r, uint64_t end)
{
    put_lone_surrogate(r);
    switch (role_) {
    case role::key:
        match_key(r);
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

void json_scanner::match_key(const run& r)
{
    path_ = no_path;
    folded_ = false;
    if (truncated_)
        return;
    const std::string_view name(text_, text_size_);
    const json_path* child = r.paths + r.paths[container_].first_child;
    const json_path* const last = child + r.paths[container_].children;
    for (; child != last; ++child) {
        if (child->name.size() != name.size() || child->name == json_elements)
            continue;
        const bool same = std::memcmp(child->name.data(), name.data(), name.size()) == 0;
        if (same || (child->any_case && equal_folded(child->name, name))) {
            path_ = static_cast<uint8_t>(child - r.paths);
            folded_ = !same;
            return;
        }
    }
}

const char* json_scanner::in_number(const run& r, const char* p, const char* end)
{
    const char* const from = p;
    for (; p != end; ++p) {
        const char c = *p;
        if (is_digit(c)) {
            switch (digits_) {
            case digits::minus:
                digits_ = c == '0' ? digits::zero : digits::whole;
                break;
            case digits::zero:
                return fail(p, json_error::syntax);
            case digits::point:
                digits_ = digits::fraction;
                break;
            case digits::exponent:
            case digits::exponent_sign:
                digits_ = digits::exponent_digits;
                break;
            default:
                break;
            }
        } else if (c == '.' && (digits_ == digits::zero || digits_ == digits::whole)) {
            digits_ = digits::point;
        } else if ((c == 'e' || c == 'E')
                   && (digits_ == digits::zero || digits_ == digits::whole || digits_ == digits::fraction)) {
            digits_ = digits::exponent;
        } else if ((c == '+' || c == '-') && digits_ == digits::exponent) {
            digits_ = digits::exponent_sign;
        } else if (c == 'I' && digits_ == digits::minus) {
            literal_ = minus_infinity;
            literal_at_ = 2;
            step_ = step::literal;
            return p + 1;
        } else {
            break;
        }
    }
    if (capture_ && p != from)
        put(r, from, static_cast<size_t>(p - from));
    if (p != end) {
        if (!number_may_end())
            return fail(p, json_error::syntax);
        value_ended(r, json_type::number, {text_, text_size_}, r.at(p));
    }
    return p;
}

bool json_scanner::number_may_end() const
{
    return digits_ == digits::zero || digits_ == digits::whole || digits_ == digits::fraction
           || digits_ == digits::exponent_digits;
}

const char* json_scanner::in_literal(const run& r, const char* p, const char* end)
{
    const literal& l = literals[literal_];
    for (; p != end; ++p) {
        if (*p != l.word[literal_at_])
            return fail(p, json_error::syntax);
        if (++literal_at_ == l.word.size()) {
            ++p;
            value_ended(r, l.type, l.type == json_type::number ? l.word : std::string_view(), r.at(p));
            return p;
        }
    }
    return p;
}

void json_scanner::value_ended(const run& r, json_type type, std::string_view text, uint64_t end)
{
    if (path_ != no_path)
        emit(r, json_event::what::value, type, text, end);
    step_ = depth_ == 0 ? step::done : step::after_value;
}

void json_scanner::emit(const run& r, json_event::what is, json_type type, std::string_view text,
                        uint64_t end) const
{
    const json_event event{.is = is,
                           .path = path_,
                           .type = type,
                           .truncated = truncated_,
                           .folded = folded_,
                           .index = depth_ == 0 ? 0 : count_[depth_ - 1] - 1,
                           .text = text,
                           .comma = comma_,
                           .key_begin = key_begin_,
                           .value_begin = value_begin_,
                           .value_end = end};
    r.sink.take(r.sink.owner, event);
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
    if (high_ == 0)
        return;
    high_ = 0;
    put_code(r, 0xfffd);
}

bool json_scanner::push(bool object)
{
    if (depth_ == max_depth)
        return false;
    const uint8_t bit = static_cast<uint8_t>(1u << (depth_ % 8));
    uint8_t& byte = nesting_[depth_ / 8];
    byte = static_cast<uint8_t>(object ? byte | bit : byte & ~bit);
    ++depth_;
    return true;
}

bool json_scanner::top_is_object() const
{
    const unsigned top = depth_ - 1u;
    return (nesting_[top / 8] >> (top % 8) & 1) != 0;
}

bool json_count(std::string_view number, uint64_t limit, uint64_t& count)
{
    // The value is digits * 10^(exponent - fraction digits); trailing zeros of the digits are moved to the
    // exponent.
    size_t i = 0;
    const bool negative = !number.empty() && number[0] == '-';
    if (negative)
        ++i;
    if (i == number.size() || !is_digit(number[i]))
        return false;

    uint64_t digits = 0;
    int64_t shift = 0;
    int64_t zeros = 0; // seen, not yet in `digits`
    bool any = false;  // a digit other than 0
    bool big = false;
    bool point = false;
    for (; i < number.size(); ++i) {
        const char c = number[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(c))
            break;
        if (point)
            --shift;
        if (c == '0') {
            if (any)
                ++zeros;
            continue;
        }
        any = true;
        for (; zeros >= 0; --zeros) {
            if (digits > (UINT64_MAX - 9) / 10)
                big = true;
            else
                digits *= 10;
        }
        zeros = 0;
        digits += big ? 0 : static_cast<uint64_t>(c - '0');
    }
    if (i < number.size()) {
        if (number[i] != 'e' && number[i] != 'E')
            return false;
        ++i;
        const bool down = i < number.size() && number[i] == '-';
        if (i < number.size() && (number[i] == '-' || number[i] == '+'))
            ++i;
        if (i == number.size())
            return false;
        int64_t exponent = 0;
        for (; i < number.size(); ++i) {
            if (!is_digit(number[i]))
                return false;
            if (exponent < 1000000)
                exponent = exponent * 10 + (number[i] - '0');
        }
        shift += down ? -exponent : exponent;
    }
    if (!any) {
        count = 0;
        return true;
    }
    shift += zeros;
    if (negative || shift < 0)
        return false;
    for (; shift > 0 && !big; --shift) {
        big = digits > UINT64_MAX / 10;
        digits *= big ? 1 : 10;
    }
    count = big || digits > limit ? limit : digits;
    return true;
}

} // namespace llm
