// What is said about the errors that nginx itself answers with, by their status.
#pragma once

#include "refusal.h"

namespace llm {

// For a status that is no error: the answer of 404. For those that nginx has for itself (494 to 497): one
// with status 400.
refusal_answer answer_of_status(unsigned status);

} // namespace llm
