// Asks the upstream of a stream for token counts in the place of a client that did not.
#pragma once

#include "body_edit.h"
#include "core/api/strip_what.h"
#include "request_facts.h"

namespace llm {

// llm_usage_inject. `continuous`: counts on every chunk too, for streams that may be aborted.
enum class usage_inject : uint8_t { off, final, continuous };

// What the gateway asked for and the client did not: what has to go from the reply.
struct injected_usage {
    bool final = false;   // the chunk at the end
    bool running = false; // counts on the other chunks
    strip_what to_strip = strip_what::nothing;

    bool any() const { return final || running; }
};

// What stands in the way where usage is to be asked for, for the client to read: a value that servers refuse,
// or read in more than one way. Empty if there is nothing.
std::string_view usage_fault(const request_facts& facts, usage_inject mode);

// What another edit of the same request does to the client's `stream_options`.
enum class options_fate : uint8_t {
    stay,
    go,   // what they say is put elsewhere here
    drop, // they say nothing any more
};

// What inject_usage() will ask for.
injected_usage usage_to_inject(const request_facts& facts, usage_inject mode,
                               options_fate fate = options_fate::stay);

// Adds to an empty `edit` what makes the request ask for usage, and keeps all else that the client's
// `stream_options` says. Nothing where it does not stream, asks by itself, or has a usage_fault().
// An edit that is not empty has to leave `stream` in its place, and stream_options only if they `stay`.
injected_usage inject_usage(const request_facts& facts, usage_inject mode, body_edit& edit,
                            options_fate fate = options_fate::stay);

} // namespace llm
