// llmctl size
#pragma once

#include "command_line.h"

namespace llm::ctl {

inline constexpr option size_options[] = {
    {"--file", "FILE", "a key file, whose keys and users are counted"},
    {"--keys", "N", "keys, where no file is given"},
    {"--users", "N", "users that they belong to; default one each"},
    {"--user_from", "N", "users that applications name, as if one key had them all; default 0"},
    {"--used", "N", "keys that are used; default all"},
    {"--models", "N", "models that each key uses; default 1"},
    {"--all-models", "N", "different models of all keys; default as many as each uses"},
    {"--requests", "N", "requests in flight at once; default 1000"},
    {"--addresses", "N", "addresses that limits count; default 0"},
};

int run_size(const arguments& given, output& out);

} // namespace llm::ctl
