#include "command_table.h"

#include "check.h"
#include "import.h"
#include "key_add.h"
#include "key_edit.h"
#include "key_list.h"
#include "live_act.h"
#include "live_top.h"
#include "new_key.h"
#include "size.h"
#include "usage.h"

namespace llm::ctl {

namespace {

constexpr command table[] = {
    {"key add", "NAME...", "makes keys, and shows each once", 1, any_number, add_options, run_key_add},
    {"key list", "", "the keys of the file", 0, 0, file_options, run_key_list},
    {"key show", "NAME", "what the file says of a key", 1, 1, file_options, run_key_show},
    {"key set", "NAME FIELD=VALUE...", "sets fields of a key; FIELD= removes one", 2, any_number,
     file_options, run_key_set, set_help},
    {"key disable", "NAME...", "locks keys", 1, any_number, file_options, run_key_disable},
    {"key enable", "NAME...", "unlocks keys", 1, any_number, file_options, run_key_enable},
    {"key rotate", "NAME...", "gives keys new secrets, and shows each once", 1, any_number, rotate_options,
     run_key_rotate},
    {"key remove", "NAME...", "removes keys from the file", 1, any_number, file_options, run_key_remove},
    {"import", "FILE", "takes over keys of another program", 1, 1, import_options, run_import},
    {"usage", "", "who has used how much, out of the state file", 0, 0, usage_options, run_usage},
    {"top", "", "shows what runs, live", 0, 0, top_options, run_top},
    {"block", "NAME...", "blocks keys at once, whatever their file says", 1, any_number, live_options,
     run_block},
    {"unblock", "NAME...", "lets blocked keys in again", 1, any_number, live_options, run_unblock},
    {"reset", "NAME...", "forgets what keys have used of their quotas and rates", 1, any_number,
     reset_options, run_reset},
    {"stop", "SERIAL...", "ends requests in flight", 1, any_number, live_options, run_stop},
    {"check", "[FILE]", "checks a key file; else the one that the other commands find", 0, 1, {}, run_check},
    {"size", "", "how large llm_zone has to be", 0, 0, size_options, run_size},
    {"new", "NAME [USER]", "makes a key, and prints its record; changes no file", 1, 2, {}, run_new},
    {"hash", "", "reads a key from the first line of stdin, and prints its SHA-256", 0, 0, {}, run_hash},
};

} // namespace

std::span<const command> commands()
{
    return table;
}

} // namespace llm::ctl
