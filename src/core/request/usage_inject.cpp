#include "usage_inject.h"

#include "core/api/api.h"
#include "core/base/bytes.h"

#include <algorithm>
#include <utility>

namespace llm {

namespace {

constexpr std::string_view name_and_colon = ",\"stream_options\":";
constexpr std::string_view ask_final = "\"include_usage\":true";
constexpr std::string_view ask_running = "\"continuous_usage_stats\":true";

// A member that is to be true: a value that stands in the object, or else the whole member.
struct wanted {
    bool is;
    request_flag now;
    byte_range value;
    std::string_view member;
};

// The object with what is wanted, as one more member of the root.
void append_options(const stream_options_member& options, const wanted& a, const wanted& b, body_edit& edit)
{
    const bool object = options.is == stream_options_member::state::object;
    bool empty = !object || options.empty;

    edit.append(name_and_colon);
    if (object) {
        const wanted* in_order[] = {&a, &b};
        if (b.value.begin < a.value.begin) {
            std::swap(in_order[0], in_order[1]);
        }
        uint64_t at = options.value_begin;
        for (const wanted* w : in_order) {
            if (w->is && w->now != request_flag::absent) {
                edit.append(byte_range{at, w->value.begin});
                edit.append("true");
                at = w->value.end;
            }
        }
        edit.append(byte_range{at, options.value_end - 1});
    } else {
        edit.append("{");
    }
    for (const wanted* w : {&a, &b}) {
        if (w->is && w->now == request_flag::absent) {
            edit.append(empty ? "" : ",");
            edit.append(w->member);
            empty = false;
        }
    }
    edit.append("}");
}

const stream_options_member& options_of(const request_facts& facts, options_fate fate)
{
    static constexpr stream_options_member absent;
    return fate == options_fate::drop ? absent : facts.stream_options();
}

} // namespace

std::string_view usage_fault(const request_facts& facts, usage_inject mode)
{
    const stream_options_member& options = facts.stream_options();
    if (mode == usage_inject::off || !facts.may_stream()) {
        return {};
    }
    if (!facts.surely_streams()) {
        return "\"stream\" is neither true nor false";
    }
    if (options.is == stream_options_member::state::other) {
        return "\"stream_options\" is not an object";
    }
    if (options.include_usage == request_flag::unclear) {
        return "\"include_usage\" is neither true nor false";
    }
    if (options.continuous_usage_stats == request_flag::unclear && mode == usage_inject::continuous) {
        return "\"continuous_usage_stats\" is neither true nor false";
    }
    return {};
}

injected_usage usage_to_inject(const request_facts& facts, usage_inject mode, options_fate fate)
{
    const stream_options_member& options = options_of(facts, fate);

    if (mode == usage_inject::off || !facts.surely_streams() || !usage_fault(facts, mode).empty()) {
        return {};
    }
    const bool continuous = mode == usage_inject::continuous;
    injected_usage asked = {
        .final = options.include_usage != request_flag::yes,
        .running = continuous && options.continuous_usage_stats != request_flag::yes,
    };
    if (asked.final) {
        // Who asks for running counts keeps them.
        const bool keeps = options.continuous_usage_stats == request_flag::yes;
        asked.to_strip = keeps ? strip_what::last : strip_what::all;
    } else if (asked.running) {
        asked.to_strip = strip_what::running;
    }
    return asked;
}

injected_usage inject_usage(const request_facts& facts, usage_inject mode, body_edit& edit, options_fate fate)
{
    const stream_options_member& options = options_of(facts, fate);
    const injected_usage asked = usage_to_inject(facts, mode, fate);
    if (!asked.any()) {
        return {};
    }
    if (options.is != stream_options_member::state::absent && fate == options_fate::stay) {
        edit.blank({options.begin, options.end});
    }
    append_options(options,
                   {asked.final,
                    options.include_usage,
                    {options.include_usage_begin, options.include_usage_end},
                    ask_final},
                   {asked.running,
                    options.continuous_usage_stats,
                    {options.continuous_begin, options.continuous_end},
                    ask_running},
                   edit);
    return asked;
}

} // namespace llm
