// llmctl block, unblock, reset, stop
#pragma once

#include "command_line.h"

namespace llm::ctl {

inline constexpr option url_option{
    "--url", "URL",
    "where llm_admin is; else LLM_ADMIN, nginx's configuration, http://127.0.0.1:8080/llm/admin/"};
inline constexpr option key_file_option{"--key-file", "FILE",
                                        "has the key for llm_admin in its first line; else LLM_ADMIN_KEY"};

inline constexpr option live_options[] = {url_option, key_file_option};
inline constexpr option reset_options[] = {
    url_option, key_file_option, {"--quota", "", "only the quotas"}, {"--rates", "", "only the rates"}};

int run_block(const arguments& given, output& out);
int run_unblock(const arguments& given, output& out);
int run_reset(const arguments& given, output& out);
int run_stop(const arguments& given, output& out);

} // namespace llm::ctl
