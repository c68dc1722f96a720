// The usage object of a reply or of an event, read by itself: the rest of the text need not be.
#pragma once

#include "plain_members.h"
#include "usage_counts.h"

namespace llm {

// The last byte in front of `p` that is no blank; the one at `begin` at the least.
const char* last_before(const char* begin, const char* p);

// The first element of the first list in [begin, end), if that is an object, and the list the value of such a
// member of the object within which `begin` is; nullptr otherwise.
const char* find_objects(const char* begin, const char* end, std::string_view name);

// Takes the usage object that comes next: what it tells is in `fields` then, as usage_reader would have it.
// False where it is not of the usual form: whole numbers, what says nothing, and the like one level deeper.
bool take_usage(plain_members& members, usage_fields& fields);

// Takes the members behind `usage` that end the object it is one of, and the object's end. False unless none
// of them can say anything.
bool take_rest(plain_members& members);

// Takes one member, of those that say nothing in any reply.
bool take_silent_member(plain_members& members);

} // namespace llm
