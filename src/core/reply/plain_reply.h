// JSON replies of the usual form that are there as a whole: their usage is read without the rest of them, of
// which it is not proved that it is JSON. Holds nothing from one reply to the next.
#pragma once

#include "usage_counts.h"

#include <string_view>

namespace llm {

// Whether `piece` is a reply with generated text, with blanks behind it, that says nothing else that counts
// than its usage, in `usage` then. False: it is to be read as a whole.
bool read_plain_reply(std::string_view piece, usage_fields& usage);

} // namespace llm
