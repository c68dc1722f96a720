// Counters of subjects as rows, and what two of them differ by.
#pragma once

#include "database.h"

#include "core/shared/subject_state.h"

#include <cstdint>
#include <string_view>

namespace llm {

std::string_view kind_name(subject_kind kind);
subject_kind kind_of(std::string_view name); // none if there is no such kind

// As it is in a row: a text, or the bytes of an address.
void bind_name(query& to, subject_kind kind, std::string_view name);
// Binds LLM_COUNTER_COLUMNS, and reads them from this column on.
void bind_state(query& to, const subject_state& s);
subject_state read_state(const query& from, int column);

// All of these write what is absolute.
void put_counter(database& db, const subject_state& s);
void put_base(database& db, int64_t zone, const subject_state& s);
// False if there is none.
bool get_base(database& db, int64_t zone, const subject_state& of, subject_state& base);

// What was counted since `base`, to be added to what another zone has counted: of what got less since, which
// was made anew, all of it. Nothing has changed between `base` and `since_ms` (wall clock). A debt may be
// more than the truth by the time from then until `now`, and is never less.
subject_state difference(const subject_state& now, const subject_state& base, int64_t since_ms);
bool is_nothing(const subject_state& s);

// From when a row of a name that clients choose says nothing any more, in minutes since 1970; 0: never.
int64_t rest_of(const subject_state& s);

} // namespace llm
