#include "command_table.h"

#include "check.h"
#include "new_key.h"

namespace llm::ctl {

namespace {

constexpr command table[] = {
    {"check", "FILE", "checks a key file", 1, 1, {}, run_check},
    {"new", "NAME [USER]", "makes a key, and prints its record; changes no file", 1, 2, {}, run_new},
    {"hash", "", "reads a key from the first line of stdin, and prints its SHA-256", 0, 0, {}, run_hash},
};

} // namespace

std::span<const command> commands()
{
    return table;
}

} // namespace llm::ctl
