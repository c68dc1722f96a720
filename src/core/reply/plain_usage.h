// The usage object of a reply or of an event, read by itself: the rest of the text need not be.
#pragma once

#include "plain_members.h"
#include "usage_counts.h"

namespace llm {

// Takes the usage object that comes next: what it tells is in `fields` then, as usage_reader would have it.
// False where it is not of the usual form: whole numbers, what says nothing, and the like one level deeper.
bool take_usage(plain_members& members, usage_fields& fields);

// Takes the members behind `usage` that end the object it is one of, and the object's end. False unless none
// of them can say anything.
bool take_rest(plain_members& members);

// Takes one member, of those that say nothing in any reply.
bool take_silent_member(plain_members& members);

} // namespace llm
