// What became of something that was to be done with the database, as a value. The caller says it in a log,
// once for each change.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace llm {

enum class state_fault : uint8_t {
    none,
    busy,       // another has locked it; tried again with the next turn
    full,       // no room on the disk
    read_only,  // the file, or what it is on
    no_access,  // no rights, no such directory, another's file
    not_a_file, // a directory, a symbolic link, a FIFO
    not_ours,   // a database of another program
    too_new,    // of a later version of this program
    in_use,     // by another nginx
    damaged,    // was set aside; the next turn begins a new one
    closed,     // this zone was taken for lost by another, which has charged what ran
    io,         // anything else
};

// One lower-case word, for metrics.
std::string_view state_fault_name(state_fault fault);

struct state_result {
    state_fault fault = state_fault::none;
    std::string text;  // one line, empty if all is well
    bool more = false; // there is more to do: to be called again soon

    bool ok() const { return fault == state_fault::none; }
};

} // namespace llm
