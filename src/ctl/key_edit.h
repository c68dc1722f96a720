// llmctl key set, enable, disable, remove
#pragma once

#include "command_line.h"
#include "key_place.h"

namespace llm::ctl {

inline constexpr option file_options[] = {file_option};

inline constexpr std::string_view set_help =
    "The fields are user, plan, expires, models, networks, requests, burst, concurrency, tokens, "
    "token_burst,\n"
    "quota, user_from, admin and enabled. Their values are those of the options of llmctl key add; those of\n"
    "admin and enabled are yes and no.";

int run_key_set(const arguments& given, output& out);
int run_key_enable(const arguments& given, output& out);
int run_key_disable(const arguments& given, output& out);
int run_key_remove(const arguments& given, output& out);

} // namespace llm::ctl
