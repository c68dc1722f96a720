// What a policy makes of one request's body.
#pragma once

#include "body_bytes.h"
#include "body_edit.h"
#include "body_members.h"
#include "request_policy.h"

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

enum class policy_fault : uint8_t {
    none,
    not_a_number,    // a field that a number caps has another value
    not_an_object,   // rules are about fields within one that is no object
    duplicate_field, // a field of a rule stands twice
    ambiguous_name,  // or is spelled in a way that servers read differently
    too_many_fields, // of the root: more than are kept
    too_many_within, // of another object
    long_name,       // a field's name is too long
    no_bound,        // no bound of tokens is given that is known, where none can be put
    hidden_bound,    // bounds could be in a field in which they cannot be read
    bound_within,    // one is in what is within a field, where it is not lowered
    too_many_edits,
    unreadable, // the body cannot be read where it is kept
};

// First plan(), which changes nothing, then write(). Everything that is handed in has to live as long.
class policy_edit {
public:
    static constexpr size_t max_members = 128; // of an object

    // The body is JSON without a fault, and all of its members are kept.
    policy_edit(const request_policy& policy, const api_call& call, std::span<const body_member> members,
                uint64_t root_end, body_bytes body)
        : policy_(policy), call_(call), members_(members), root_end_(root_end), body_(body)
    {
    }

    policy_fault plan();
    // Of which field there is a fault: its names, joined by dots.
    std::string_view faulty() const { return {faulty_, faulty_size_}; }

    // What follows holds after plan().

    bool any() const { return !edits_.empty() || gone_.any(); }
    // The root's member whose value begins here is to go.
    bool drops(uint64_t value_begin) const;
    // A bound of tokens is put where the client gave none.
    bool gives_bound() const { return gives_bound_; }

    // Adds all to an edit to which nothing was added yet. `also_gone`: where the value of a member of the
    // root begins that is to go for another reason; else 0. False if there is no room for it.
    bool write(body_edit& to, uint64_t also_gone = 0);
    // After write(): of what was in the root object, nothing is where it was.
    bool leaves_none() const { return leaves_none_; }

private:
    using flags = std::bitset<max_members>;
    struct object;

    policy_fault members_of(const byte_range& value, object& to);
    policy_fault take_object(uint8_t parent, object& o);
    policy_fault take_member(uint8_t parent, object& o, size_t i);
    policy_fault take_value(uint8_t i, const body_member& member);
    policy_fault note_bound(uint8_t i, const byte_range& value);
    policy_fault take_number(uint8_t i, const byte_range& value);
    policy_fault add_missing(uint8_t parent, object& o);
    bool wants(uint8_t i) const;
    bool wants_bound(uint8_t i, bound_names of) const;
    bool puts_value_within(uint8_t i) const;
    bool put_value(uint8_t i, uint64_t at);
    bool replace(uint8_t i, const byte_range& value, std::string_view text);
    std::string_view capped(uint8_t i, std::string_view text) const;
    bool insert(uint64_t at, std::string_view text);
    policy_fault fail(policy_fault fault, uint8_t i);
    bool move(const body_member& member, std::span<const byte_edit> edits, body_edit& to, bool& first) const;

    const request_policy& policy_;
    const api_call& call_;
    std::span<const body_member> members_;
    uint64_t root_end_;
    body_bytes body_;

    byte_edits<body_edit::max_edits> edits_; // of the body as it came, and they may make it longer
    flags gone_;                             // members of the root
    std::bitset<request_policy::max_nodes> seen_;
    std::bitset<request_policy::max_nodes> null_; // it stands there as null, at nulls_
    std::array<byte_range, request_policy::max_nodes> nulls_;
    bound_names bounds_ = 0; // that are in force
    bool gives_bound_ = false;
    bool leaves_none_ = false;
    size_t faulty_size_ = 0;
    char faulty_[max_policy_field];
};

} // namespace llm
