// Which bytes of a stream of chat or completion events are there only because the gateway has asked for usage
// in the client's place: they are taken out of what the client gets.
#pragma once

#include "core/api/strip_what.h"
#include "core/json/json_scan.h"

#include <cstdint>

namespace llm {

// Called for each range of bytes to be taken out, in their order. Offsets count from the stream's first byte.
// Without a function nobody wants to know.
struct erase_sink {
    void (*erase)(void* owner, uint64_t begin, uint64_t end) = nullptr;
    void* owner = nullptr;

    void operator()(uint64_t begin, uint64_t end) const
    {
        if (erase != nullptr) {
            erase(owner, begin, end);
        }
    }
};

// Follows the events of one stream. An event goes that has usage and no choice, and nothing else but what
// each event of the stream has; one that has more stays, without its usage. What an event is may be known at
// its end only: until then none of its bytes should go to the client. An event that grows beyond max_held
// undecided is kept, less its `usage`. All zero bytes are a valid initial state.
class usage_strip {
public:
    static constexpr uint64_t max_held = 16384;

    void start(strip_what what);
    bool active() const { return what_ != strip_what::nothing; }
    // It is known of the event that is being read that it stays.
    bool decided() const { return decided_; }
    // `usage` is taken out of events that have choices.
    bool takes_running() const { return what_ == strip_what::all || what_ == strip_what::running; }

    // Of the event that begins, or goes on, with each of its parts as the scanner tells them. `next` are the
    // bytes from the event's value_end on, as far as they are there.
    void on_usage(const json_event& event, std::string_view next, const erase_sink& sink);
    // It has a choice.
    void on_choice(const erase_sink& sink);
    // The choice ends with it: a client that has asked for usage gets the one that is here.
    void on_finish() { ends_choice_ = true; }
    // It has a member that is more than usage and what names the reply.
    void on_more() { has_more_ = true; }
    // More of the event's data, before the scanner sees it.
    void on_data(std::string_view bytes, uint64_t offset, const erase_sink& sink);
    // The event is whole. `valid`: its data is JSON. True if it is taken out.
    bool on_end(bool valid, uint64_t begin, uint64_t end, const erase_sink& sink);

    // No more bytes are there for now: up to which offset it is decided what is taken out. `begin` is where
    // the event begins that `end` lies in, `unsaid` json_scanner::unsaid() of its usage.
    uint64_t settle(uint64_t begin, uint64_t end, uint64_t unsaid, const erase_sink& sink);

private:
    struct range {
        uint64_t begin;
        uint64_t end;
    };

    void erase(uint64_t begin, uint64_t end, const erase_sink& sink);
    void keep_event(const erase_sink& sink);
    void find_comma(std::string_view bytes, uint64_t offset, const erase_sink& sink);

    strip_what what_ = strip_what::nothing;
    bool decided_ = false;    // the event stays
    bool has_usage_ = false;  // which is not null
    bool is_waiting_ = false; // erase_, for the decision
    bool has_choice_ = false;
    bool ends_choice_ = false;
    bool has_more_ = false;
    bool in_usage_ = false;    // the value of `usage` has begun
    bool wants_comma_ = false; // `usage` came first: the comma behind it goes as well
    uint32_t bare_index_ = 0;  // of the member that has no comma in front of it
    range erase_ = {};
    uint64_t erase_from_ = 0; // while in_usage_
};

} // namespace llm
