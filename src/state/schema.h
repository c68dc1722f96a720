// The tables, and how older ones become them. docs/state.md says what is in them.
#pragma once

#include "database.h"

#include <string>

namespace llm {

// "llms", in the file's header.
inline constexpr int64_t application_id = 0x6c6c6d73;
// Of the tables and of what is in them. It goes up whenever either gets another meaning.
inline constexpr int64_t state_format = 2;

struct schema_version {
    state_fault fault = state_fault::none; // why it is not to be touched, and the text
    std::string text;
    bool is_old = false; // or empty
};

// Changes nothing. What the database itself finds is in its fault.
schema_version version_of(database& db);
// In a transaction of the caller's.
void bring_up_to_date(database& db);

// What `counters`, `base` and `carry` have in common, in the order in which it is written and read.
#define LLM_COUNTER_COLUMNS                                                                                  \
    "kind, name, owner, requests, prompt, cached, completion, reasoning, cache_write, "                      \
    "quota_hour, quota_hour_at, quota_day, quota_day_at, quota_week, quota_week_at, "                        \
    "quota_month, quota_month_at, quota_total, quota_total_at, debts, learned, proved, blocked, updated"
inline constexpr int counter_columns = 24;
#define LLM_COUNTER_VALUES "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?"

} // namespace llm
