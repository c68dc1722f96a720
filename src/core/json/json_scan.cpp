#include "json_scan.h"

#include "core/base/bytes.h"
#include "core/base/chars.h"
#include "json_bytes.h"
#include "json_scan_run.h"
#include "json_scan_values.h"
#include "string_text.h"

namespace llm {

namespace {

struct word {
    std::string_view text;
    json_type type;
};

constexpr word words[] = {
    {"null", json_type::null},  {"true", json_type::yes},        {"false", json_type::no},
    {"NaN", json_type::number}, {"Infinity", json_type::number}, {"-Infinity", json_type::number},
};
constexpr uint8_t minus_infinity = 5;

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

uint64_t json_scanner::unsaid(uint8_t path, const json_path* paths) const
{
    if (depth_ != 1 || container_ != 0 || !top_is_object()) {
        return UINT64_MAX;
    }
    bool may_be = path_ == path;
    switch (step_) {
    case step::key:
        return comma_;
    case step::string:
        if (role_ == role::key) {
            may_be = !truncated_ && paths[path].name.starts_with({text_, text_size_});
        }
        break;
    case step::colon:
    case step::member:
    case step::number:
    case step::literal:
        break;
    default:
        return UINT64_MAX;
    }
    if (!may_be) {
        return UINT64_MAX;
    }
    return count_[0] > 1 ? comma_ : key_begin_;
}

size_t json_scanner::feed(std::string_view piece, const json_path* paths, json_sink sink)
{
    const run r(paths, sink, piece.data(), offset_);
    const char* p = piece.data();
    const char* const end = p + piece.size();

    bool stopped = false;
    while (p != end && !stopped) {
        switch (step_) {
        case step::string:
            p = in_string(r, p, end);
            break;
        case step::skip:
            p = strict_ ? in_strict_skip(r, p, end) : in_skip(r, p, end);
            break;
        case step::number:
            p = in_number(r, p, end);
            break;
        case step::literal:
            p = in_literal(r, p, end);
            break;
        case step::failed:
            stopped = true;
            break;
        default:
            if (is_space(*p)) {
                ++p;
            } else if (step_ == step::done) {
                stopped = true;
            } else {
                p = structure(r, p, end);
            }
            break;
        }
    }

    offset_ = r.at(p);
    return static_cast<size_t>(p - piece.data());
}

json_scanner::status json_scanner::finish(const json_path* paths, json_sink sink)
{
    if (step_ == step::number && depth_ == 0 && number_may_end()) {
        const run r(paths, sink, nullptr, offset_);
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
    case step::element:
        return elements(r, p, end);
    case step::first_key:
        if (c == '}') {
            return close(r, p);
        }
        [[fallthrough]];
    case step::key:
        if (c != '"') {
            break;
        }
        return members(r, p, end);
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

// From the quote of a name on: members, as long as they lie whole in the piece. Where one does not, or is not
// what is expected, the step for the rest is set; in between it is not kept.
const char* json_scanner::members(const run& r, const char* p, const char* end)
{
    const uint16_t depth = depth_;
    for (;;) {
        ++count_[depth_ - 1];
        key_begin_ = r.at(p);
        truncated_ = false;
        ++p;
        const char* const stop = find_string_stop(p, end);
        if (stop == end || *stop != '"') {
            role_ = role::key;
            capture_ = true;
            folded_ = false;
            text_size_ = 0;
            step_ = step::string;
            return p;
        }
        match_key(r, {p, static_cast<size_t>(stop - p)});
        p = stop + 1;
        key_end_ = r.at(p);
        if (p == end || *p != ':') {
            step_ = step::colon;
            return p;
        }
        p = past_space(p + 1, end);
        if (p == end) {
            step_ = step::member;
            return p;
        }
        const char* const after = path_ == no_path ? past_plain_value(p, end) : p;
        if (after != p) {
            p = after;
        } else {
            p = value(r, p, end);
            if (step_ != step::after_value || depth_ != depth) {
                return p;
            }
        }
        if (p == end || *p != ',') {
            step_ = step::after_value;
            return p != end && *p == '}' ? close(r, p) : p;
        }
        comma_ = r.at(p);
        p = past_space(p + 1, end);
        if (p == end || *p != '"') {
            step_ = step::key;
            return p;
        }
    }
}

// From the first byte of an element on: likewise.
const char* json_scanner::elements(const run& r, const char* p, const char* end)
{
    const uint16_t depth = depth_;
    const uint8_t path = r.paths[container_].has_elements ? r.paths[container_].first_child : no_path;
    for (;;) {
        path_ = path;
        folded_ = false;
        ++count_[depth - 1];
        key_begin_ = r.at(p);
        p = value(r, p, end);
        if (step_ != step::after_value || depth_ != depth || p == end) {
            return p;
        }
        if (*p != ',') {
            return *p == ']' ? close(r, p) : p;
        }
        comma_ = r.at(p);
        p = past_space(p + 1, end);
        if (p == end) {
            step_ = step::element;
            return p;
        }
    }
}

// The first byte of a value; path_ says whose.
const char* json_scanner::value(const run& r, const char* p, const char* end)
{
    const char c = *p;
    if (c == '{' || c == '[') {
        return container(r, p, end);
    }
    value_begin_ = r.at(p);
    role_ = role::value;
    capture_ = path_ != no_path && r.paths[path_].text != json_text::none;
    truncated_ = false;
    text_size_ = 0;
    if (c == '"') {
        return string(r, p + 1, end);
    }
    return c == '-' || is_digit(c) ? number(r, p, end) : literal(r, p, end);
}

// The first byte within a string that is a value.
const char* json_scanner::string(const run& r, const char* p, const char* end)
{
    surplus_ = 0;
    if (!capture_) {
        const char* stop = find_string_stop(p, within(p, end));
        if (stop != end && *stop != '"') {
            stop = past_string_text(stop, end, surplus_);
        }
        if (stop != end && *stop == '"') {
            value_ended(r, json_type::string, {}, r.at(stop) + 1);
            return stop + 1;
        }
        step_ = step::string;
        return stop;
    }
    // As with names: what lies whole in the piece needs no copy.
    const char* const stop = find_string_stop(p, within(p, end));
    if (stop != end && *stop == '"') {
        value_ended(r, json_type::string, {p, static_cast<size_t>(stop - p)}, r.at(stop) + 1);
        return stop + 1;
    }
    step_ = step::string;
    return p;
}

const char* json_scanner::number(const run& r, const char* p, const char* end)
{
    const char* const stop = past_plain_number(p, end);
    const size_t size = static_cast<size_t>(stop - p);
    if (size != 0 && size <= max_text) {
        value_ended(r, json_type::number, {p, capture_ ? size : 0}, r.at(stop));
        return stop;
    }
    return begin_number(r, p, end);
}

// One that is not plain, or does not end in the piece.
const char* json_scanner::begin_number(const run& r, const char* p, const char* end)
{
    digits_ = *p == '-' ? digits::minus : *p == '0' ? digits::zero : digits::whole;
    if (capture_) {
        put(r, p, 1);
    }
    step_ = step::number;
    return in_number(r, p + 1, end);
}

const char* json_scanner::literal(const run& r, const char* p, const char* end)
{
    if (is_null(p, end)) {
        value_ended(r, json_type::null, {}, r.at(p) + 4);
        return p + 4;
    }
    return begin_literal(r, p, end);
}

const char* json_scanner::begin_literal(const run& r, const char* p, const char* end)
{
    for (literal_ = 0; literal_ < minus_infinity; ++literal_) {
        if (*p == words[literal_].text[0]) {
            literal_at_ = 1;
            step_ = step::literal;
            return in_literal(r, p + 1, end);
        }
    }
    return fail(p, json_error::syntax);
}

// Of what is skipped strictly nobody is told how many members or elements it has.
bool json_scanner::leads_into(const json_path& path, bool object) const
{
    return !strict_ ? path.children != 0 : object ? path.has_members : path.has_elements;
}

const char* json_scanner::container(const run& r, const char* p, const char* end)
{
    const bool object = *p == '{';
    value_begin_ = r.at(p);
    if (is_told(r)) {
        emit(r, json_event::what::open, object ? json_type::object : json_type::array, {}, 0);
    }
    if (!push(object)) {
        return fail(p, json_error::too_deep);
    }
    if (path_ == no_path || !leads_into(r.paths[path_], object)) {
        skip_base_ = static_cast<uint16_t>(depth_ - 1);
        step_ = step::skip;
        if (strict_) {
            due_ = object ? due::first_key : due::first_value;
            return in_strict_skip(r, p + 1, end);
        }
        return in_skip(r, p + 1, end);
    }
    container_ = path_;
    count_[depth_ - 1] = 0;
    step_ = object ? step::first_key : step::first_element;
    ++p;
    if (object) {
        return p != end && *p == '"' ? members(r, p, end) : p;
    }
    return p != end && *p != ']' && !is_space(*p) ? elements(r, p, end) : p;
}

// The end of a container that paths lead into.
const char* json_scanner::close(const run& r, const char* p)
{
    if (!pop(*p == '}')) {
        return fail(p, json_error::syntax);
    }
    path_ = container_;
    container_ = r.paths[path_].parent;
    container_ended(r, *p == '}', count_[depth_], r.at(p) + 1);
    return p + 1;
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
        scalar_ended(r, json_type::number, {text_, text_size_}, r.at(p));
    }
    return p;
}

const char* json_scanner::in_literal(const run& r, const char* p, const char* end)
{
    const word& w = words[literal_];
    for (; p != end; ++p) {
        if (*p != w.text[literal_at_]) {
            return fail(p, json_error::syntax);
        }
        if (++literal_at_ == w.text.size()) {
            ++p;
            scalar_ended(r, w.type, w.type == json_type::number ? w.text : std::string_view(), r.at(p));
            return p;
        }
    }
    return p;
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
                           .key_end = key_end_,
                           .value_begin = value_begin_,
                           .value_end = end,
                           .surplus = surplus_};
    r.sink.take(r.sink.owner, event);
}

} // namespace llm
