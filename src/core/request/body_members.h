// Where the members of a body's root object are.
#pragma once

#include "core/base/byte_range.h"
#include "core/json/json_scan.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace llm {

struct body_member {
    byte_range name;  // with its quotes, escaped as the client wrote it
    byte_range value; // to its last byte, without white space around it
    uint64_t comma;   // before the name; meaningless of the first
};

// Kept in memory of whoever wants to know, in the order of the body. All zero bytes are a valid initial
// state: nobody does.
class body_members {
public:
    // Enough for what clients send; what is beyond it is told by all_kept().
    static constexpr size_t usual = 64;

    void keep_in(std::span<body_member> room)
    {
        members_ = room.data();
        room_ = room.size();
    }
    bool wanted() const { return members_ != nullptr; }

    // Those whose value has begun; that of the last one may have no end yet, which is 0 then.
    std::span<const body_member> kept() const { return {members_, size_ < room_ ? size_ : room_}; }
    // False if there were more than there is room for.
    bool all_kept() const { return size_ <= room_; }

    // Of a member of the root object, with each event of its own but json_event::what::text.
    void take(const json_event& event)
    {
        if (event.is == json_event::what::close) {
            if (size_ <= room_) {
                members_[size_ - 1].value.end = event.value_end;
            }
            return;
        }
        if (size_ < room_) {
            const bool ends = event.is == json_event::what::value;
            members_[size_] = {{event.key_begin, event.key_end},
                               {event.value_begin, ends ? event.value_end : 0},
                               event.comma};
        }
        ++size_;
    }

private:
    body_member* members_ = nullptr;
    size_t room_ = 0;
    size_t size_ = 0; // all that there were
};

} // namespace llm
