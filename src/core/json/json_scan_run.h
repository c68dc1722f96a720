// Internal to json_scanner.
#pragma once

#include "json_scan.h"

namespace llm {

// What holds during one call of feed.
struct json_scanner::run {
    const json_path* paths;
    json_sink sink;
    uint64_t base; // makes an offset of a pointer's bits

    run(const json_path* paths, json_sink sink, const char* begin, uint64_t offset)
        : paths(paths), sink(sink), base(offset - reinterpret_cast<uintptr_t>(begin))
    {
    }

    uint64_t at(const char* p) const { return base + reinterpret_cast<uintptr_t>(p); }
};

inline void json_scanner::match_key(const run& r, std::string_view name)
{
    path_ = no_path;
    folded_ = false;
    if ((r.paths[container_].marks & json_name_mark(name)) != 0 && !truncated_) {
        path_ = child_of(r, name);
    }
    if (path_ == no_path && strict_ && r.paths[container_].has_any_case) {
        path_ = lookalike_of(r, name);
    }
    if (path_ == no_path && r.paths[container_].others != 0) {
        path_ = r.paths[container_].others;
    }
}

inline bool json_scanner::push(bool object)
{
    if (depth_ == max_depth) {
        return false;
    }
    uint64_t& word = nesting_[depth_ / 64];
    word = word << 1 | (object ? 1 : 0);
    ++depth_;
    return true;
}

inline bool json_scanner::pop(bool object)
{
    uint64_t& word = nesting_[(depth_ - 1u) / 64];
    if ((word & 1) != (object ? 1 : 0)) {
        return false;
    }
    word >>= 1;
    --depth_;
    return true;
}

inline bool json_scanner::top_is_object() const
{
    return (nesting_[(depth_ - 1u) / 64] & 1) != 0;
}

inline bool json_scanner::is_told(const run& r) const
{
    return path_ != no_path && !r.paths[path_].silent;
}

inline void json_scanner::value_ended(const run& r, json_type type, std::string_view text, uint64_t end)
{
    if (is_told(r)) {
        emit(r, json_event::what::value, type, text, end);
    }
    step_ = depth_ == 0 ? step::done : step::after_value;
}

// The same of what was read byte by byte, and may be in what is skipped.
inline void json_scanner::scalar_ended(const run& r, json_type type, std::string_view text, uint64_t end)
{
    if (role_ == role::skipped) {
        step_ = step::skip;
    } else {
        value_ended(r, type, text, end);
    }
}

inline void json_scanner::container_ended(const run& r, bool object, uint32_t count, uint64_t end)
{
    if (is_told(r)) {
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

inline bool json_scanner::number_may_end() const
{
    return digits_ == digits::zero || digits_ == digits::whole || digits_ == digits::fraction
           || digits_ == digits::exponent_digits;
}

// False where it is an error, or ends what is skipped.
inline bool json_scanner::skip_bracket(const run& r, const char* p)
{
    const bool object = (*p & 0x20) != 0;
    if ((*p & 2) != 0) {
        if (!push(object)) {
            fail(p, json_error::too_deep);
            return false;
        }
        return true;
    }
    if (!pop(object)) {
        fail(p, json_error::syntax);
        return false;
    }
    if (depth_ == skip_base_) {
        container_ended(r, object, 0, r.at(p) + 1);
        return false;
    }
    return true;
}

} // namespace llm
