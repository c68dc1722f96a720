#include "usage_inject.h"

#include <utility>

namespace llm {

namespace {

constexpr std::string_view name_and_colon = ",\"stream_options\":";
constexpr std::string_view ask_final = "\"include_usage\":true";
constexpr std::string_view ask_running = "\"continuous_usage_stats\":true";

// All of it, each value grown to `true`, two commas, and the two braces.
static_assert(name_and_colon.size() + stream_options_member::max_text + 2 * 4 + ask_final.size()
                      + ask_running.size() + 2 + 2
                  <= body_edit::max_tail,
              "the tail has room for the longest object");

// A member that is to be true: a value that stands in the object's text, or else the whole member.
struct wanted {
    bool is;
    request_flag now;
    uint8_t begin;
    uint8_t end;
    std::string_view member;
};

// The object with what is wanted, as one more member of the root.
void append_options(const stream_options_member& options, const wanted& a, const wanted& b, body_edit& edit)
{
    const bool object = options.is == stream_options_member::state::object;
    const std::string_view text = object ? std::string_view(options.text, options.size) : "{}";
    const std::string_view inner = text.substr(0, text.size() - 1);
    bool empty = !object || options.empty;

    edit.append(name_and_colon);
    const wanted* in_order[] = {&a, &b};
    if (b.begin < a.begin) {
        std::swap(in_order[0], in_order[1]);
    }
    size_t at = 0;
    for (const wanted* w : in_order) {
        if (w->is && w->now != request_flag::absent) {
            edit.append(inner.substr(at, w->begin - at));
            edit.append("true");
            at = w->end;
        }
    }
    edit.append(inner.substr(at));
    for (const wanted* w : {&a, &b}) {
        if (w->is && w->now == request_flag::absent) {
            edit.append(empty ? "" : ",");
            edit.append(w->member);
            empty = false;
        }
    }
    edit.append("}");
}

} // namespace

bool takes_stream_options(std::string_view path)
{
    return path.ends_with("/completions");
}

injected_usage inject_usage(const request_facts& facts, usage_inject mode, body_edit& edit)
{
    using state = stream_options_member::state;
    const stream_options_member& options = facts.stream_options();

    if (mode == usage_inject::off || !facts.surely_streams() || options.is == state::other
        || options.is == state::too_long || options.include_usage == request_flag::unclear) {
        return {};
    }
    const bool continuous = mode == usage_inject::continuous;
    if (continuous && options.continuous_usage_stats == request_flag::unclear) {
        return {};
    }
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
    if (!asked.any() || (options.is != state::absent && !edit.blank({options.begin, options.end}))) {
        return {};
    }
    append_options(options,
                   {asked.final, options.include_usage, options.include_usage_begin,
                    options.include_usage_end, ask_final},
                   {asked.running, options.continuous_usage_stats, options.continuous_begin,
                    options.continuous_end, ask_running},
                   edit);
    return asked;
}

} // namespace llm
