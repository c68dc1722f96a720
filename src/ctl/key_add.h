// llmctl key add, key rotate: the commands that make secrets.
#pragma once

#include "command_line.h"
#include "key_place.h"

namespace llm::ctl {

inline constexpr option key_stdin_option = {"--key-stdin", "", "takes the key from the first line of stdin"};

inline constexpr option add_options[] = {
    {"--user", "USER", "who it belongs to"},
    {"--plan", "PLAN", "a plan of the file"},
    {"--models", "A,B*", "the models that it may use"},
    {"--networks", "A,B", "from where it may be used"},
    {"--expires", "TIME", "when it ends: 2027-01-01, 2027-01-01T00:00:00Z, 90d, 12h"},
    {"--quota", "N/WINDOW", "tokens in a window: 10m/mo; a number alone is forever"},
    {"--requests", "RATE", "requests: 10r/s"},
    {"--burst", "N", "requests at once, beside the first"},
    {"--concurrency", "N", "requests in flight"},
    {"--tokens", "RATE", "tokens: 100k/m"},
    {"--token_burst", "N", "tokens at once"},
    {"--user_from", "HEADER", "the header in which the application that has it names its users"},
    {"--admin", "", "may use llm_admin"},
    {"--disabled", "", "is not in force yet"},
    {"--no-secret", "", "makes none: nginx finds the key by its name (identity=)"},
    key_stdin_option,
    file_option,
};

inline constexpr option rotate_options[] = {
    {"--keep-old", "", "the old secrets stay in force, too, until --drop-old"},
    {"--drop-old", "", "makes no new secret: ends the old ones that --keep-old has kept"},
    {"--drop-new", "", "makes no new secret: takes the newest away, as if it had not been made"},
    {"--no-secret", "",
     "with --drop-new: takes the only secret too, where nginx's configuration does not say"},
    {"--add-secret", "", "for keys without a secret, too, which can then be used by it as well as by name"},
    key_stdin_option,
    file_option,
};

int run_key_add(const arguments& given, output& out);
int run_key_rotate(const arguments& given, output& out);

} // namespace llm::ctl
