#include "json_scan.h"

#include "bytes.h"
#include "json_scan_run.h"

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

} // namespace

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
    if (step_ == step::done) {
        return status::complete;
    }
    return step_ == step::failed ? status::failed : status::more;
}

size_t json_scanner::feed(std::string_view piece, const json_path* paths, json_sink sink)
{
    const run r{paths, sink, piece.data(), offset_};
    const char* p = piece.data();
    const char* const end = p + piece.size();

    while (p != end) {
        if (step_ == step::string) {
            p = in_string(r, p, end);
        } else if (step_ == step::skip) {
            p = in_skip(r, p, end);
        } else if (step_ == step::number) {
            p = in_number(r, p, end);
        } else if (step_ == step::literal) {
            p = in_literal(r, p, end);
        } else if (step_ == step::failed) {
            break;
        } else if (is_space(*p)) {
            ++p;
        } else if (step_ == step::done) {
            break;
        } else {
            p = structure(r, p, end);
        }
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
const char* json_scanner::structure(const run& r, const char* p, const char* end)
{
    const char c = *p;
    switch (step_) {
    case step::top:
        key_begin_ = r.at(p);
        return value(r, p, end);
    case step::first_element:
        if (c == ']') {
            return close(r, p);
        }
        [[fallthrough]];
    case step::element: {
        const json_path& in = r.paths[container_];
        const bool wanted = in.children != 0 && r.paths[in.first_child].name == json_elements;
        path_ = wanted ? in.first_child : no_path;
        folded_ = false;
        ++count_[depth_ - 1];
        key_begin_ = r.at(p);
        return value(r, p, end);
    }
    case step::first_key:
        if (c == '}') {
            return close(r, p);
        }
        [[fallthrough]];
    case step::key:
        if (c != '"') {
            break;
        }
        return key(r, p, end);
    case step::colon:
        if (c != ':') {
            break;
        }
        step_ = step::member;
        return p + 1;
    case step::member:
        return value(r, p, end);
    case step::after_value:
        if (c == ',') {
            comma_ = r.at(p);
            step_ = top_is_object() ? step::key : step::element;
            return p + 1;
        }
        if (c == '}' || c == ']') {
            return close(r, p);
        }
        break;
    default:
        break;
    }
    return fail(p, json_error::syntax);
}

const char* json_scanner::key(const run& r, const char* p, const char* end)
{
    ++count_[depth_ - 1];
    key_begin_ = r.at(p);
    truncated_ = false;
    ++p;
    // Most names lie whole in the piece, without an escape, and need no copy.
    const char* const stop = find_string_stop(p, end);
    if (stop != end && *stop == '"') {
        match_key(r, {p, static_cast<size_t>(stop - p)});
        step_ = step::colon;
        p = stop + 1;
        if (p != end && *p == ':') {
            step_ = step::member;
            ++p;
        }
        return p;
    }
    role_ = role::key;
    capture_ = true;
    text_size_ = 0;
    step_ = step::string;
    return p;
}

// The first byte of a value; path_ says whose.
const char* json_scanner::value(const run& r, const char* p, const char* end)
{
    const char c = *p;
    if (c == '{' || c == '[') {
        return container(r, p);
    }

    value_begin_ = r.at(p);
    role_ = role::value;
    capture_ = path_ != no_path && r.paths[path_].text != json_text::none;
    truncated_ = false;
    text_size_ = 0;
    if (c == '"') {
        return string(r, p + 1, end);
    }
    if (c == '-' || is_digit(c)) {
        digits_ = c == '-' ? digits::minus : c == '0' ? digits::zero : digits::whole;
        if (capture_) {
            put(r, p, 1);
        }
        step_ = step::number;
        return in_number(r, p + 1, end);
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

// The first byte within a string that is a value.
const char* json_scanner::string(const run& r, const char* p, const char* end)
{
    // As with names: what lies whole in the piece needs no copy.
    const char* const stop = find_string_stop(p, end);
    const size_t size = static_cast<size_t>(stop - p);
    if (stop != end && *stop == '"') {
        if (!capture_) {
            value_ended(r, json_type::string, {}, r.at(stop) + 1);
            return stop + 1;
        }
        if (size <= max_text || r.paths[path_].text == json_text::bounded) {
            truncated_ = size > max_text;
            value_ended(r, json_type::string, {p, truncated_ ? max_text : size}, r.at(stop) + 1);
            return stop + 1;
        }
    }
    step_ = step::string;
    return p;
}

const char* json_scanner::container(const run& r, const char* p)
{
    const bool object = *p == '{';
    value_begin_ = r.at(p);
    if (path_ != no_path) {
        emit(r, json_event::what::open, object ? json_type::object : json_type::array, {}, 0);
    }
    if (!push(object)) {
        return fail(p, json_error::too_deep);
    }
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
    if (top_is_object() != (*p == '}')) {
        return fail(p, json_error::syntax);
    }
    --depth_;
    path_ = container_;
    container_ = r.paths[path_].parent;
    container_ended(r, *p == '}', count_[depth_], r.at(p) + 1);
    return p + 1;
}

void json_scanner::container_ended(const run& r, bool object, uint32_t count, uint64_t end)
{
    if (path_ != no_path) {
        json_event event{};
        event.is = json_event::what::close;
        event.path = path_;
        event.type = object ? json_type::object : json_type::array;
        event.index = count;
        event.value_end = end;
        r.sink.take(r.sink.owner, event);
    }
    step_ = depth_ == 0 ? step::done : step::after_value;
}

const char* json_scanner::in_skip(const run& r, const char* p, const char* end)
{
    for (;;) {
        p = find_nesting_stop(p, end);
        if (p == end) {
            return p;
        }
        switch (*p) {
        case '"':
            role_ = role::skipped;
            capture_ = false;
            step_ = step::string;
            return p + 1;
        case '{':
        case '[':
            if (!push(*p == '{')) {
                return fail(p, json_error::too_deep);
            }
            ++p;
            break;
        case '}':
        case ']':
            if (top_is_object() != (*p == '}')) {
                return fail(p, json_error::syntax);
            }
            ++p;
            --depth_;
            if (depth_ != skip_base_) {
                break;
            }
            container_ended(r, p[-1] == '}', 0, r.at(p));
            return p;
        default:
            return fail(p, json_error::syntax);
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
    if (capture_ && p != from) {
        put(r, from, static_cast<size_t>(p - from));
    }
    if (p != end) {
        if (!number_may_end()) {
            return fail(p, json_error::syntax);
        }
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
        if (*p != l.word[literal_at_]) {
            return fail(p, json_error::syntax);
        }
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
    if (path_ != no_path) {
        emit(r, json_event::what::value, type, text, end);
    }
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

bool json_scanner::push(bool object)
{
    if (depth_ == max_depth) {
        return false;
    }
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

} // namespace llm
