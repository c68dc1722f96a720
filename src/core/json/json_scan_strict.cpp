// json_scanner's strict way through what it skips: the whole grammar, a token at a time, and no events.

#include "json_bytes.h"
#include "json_scan_run.h"
#include "json_scan_values.h"
#include "string_text.h"

namespace llm {

namespace {

// The quote that ends a string, from the byte after the one that begins it; or where it goes on byte by byte.
inline const char* past_string(const char* p, const char* end)
{
    const char* const stop = find_string_stop(p, within(p, end));
    uint64_t surplus = 0; // of no interest
    return stop != end && *stop == '"' ? stop : past_string_text(stop, end, surplus);
}

// Over elements of an array, each with the comma before it, as long as they are plain numbers: tokens,
// vectors.
inline const char* past_more_numbers(const char* p, const char* end)
{
    while (p != end && *p == ',') {
        const char* const next = past_space(p + 1, end);
        const char* const after = next == end ? next : past_plain_number(next, end);
        if (after == next) {
            break;
        }
        p = after;
    }
    return p;
}

} // namespace

// All of a container that no path leads into. What is cut by the piece's end is left to the steps that go on
// byte by byte; they come back with step::skip, and due_ says what is to come then.
const char* json_scanner::in_strict_skip(const run& r, const char* p, const char* end)
{
    due d = due_;
    bool in_object = top_is_object();
    for (;;) {
        p = past_space(p, end);
        if (p == end) {
            due_ = d;
            return p;
        }
        switch (d) {
        case due::after:
            if (*p == ',') {
                d = in_object ? due::key : due::value;
                ++p;
                continue;
            }
            break;
        case due::first_key:
            if (*p == '}') {
                break;
            }
            [[fallthrough]];
        case due::key: {
            if (*p != '"') {
                return fail(p, json_error::syntax);
            }
            const char* const stop = past_string(p + 1, end);
            d = due::colon;
            if (stop == end || *stop != '"') {
                return skip_string(stop, d);
            }
            p = stop + 1;
            continue;
        }
        case due::colon:
            if (*p != ':') {
                return fail(p, json_error::syntax);
            }
            d = due::value;
            ++p;
            continue;
        case due::first_value:
            if (*p == ']') {
                break;
            }
            [[fallthrough]];
        case due::value: {
            const char c = *p;
            d = due::after;
            if (c == '"') {
                const char* const stop = past_string(p + 1, end);
                if (stop == end || *stop != '"') {
                    return skip_string(stop, d);
                }
                p = stop + 1;
                continue;
            }
            if (c == '{' || c == '[') {
                in_object = c == '{';
                if (!push(in_object)) {
                    return fail(p, json_error::too_deep);
                }
                d = in_object ? due::first_key : due::first_value;
                ++p;
                continue;
            }
            const char* const after = past_plain_scalar(p, end);
            if (after == p) {
                due_ = d;
                role_ = role::skipped;
                capture_ = false;
                return c == '-' || is_digit(c) ? begin_number(r, p, end) : begin_literal(r, p, end);
            }
            p = in_object ? after : past_more_numbers(after, end);
            continue;
        }
        }

        const bool object = *p == '}';
        if ((!object && *p != ']') || !pop(object)) {
            return fail(p, json_error::syntax);
        }
        ++p;
        if (depth_ == skip_base_) {
            container_ended(r, object, 0, r.at(p));
            return p;
        }
        in_object = top_is_object();
        d = due::after;
    }
}

// The rest of a string, in which no escape has begun.
const char* json_scanner::skip_string(const char* p, due next)
{
    due_ = next;
    role_ = role::skipped;
    capture_ = false;
    step_ = step::string;
    return p;
}

} // namespace llm
