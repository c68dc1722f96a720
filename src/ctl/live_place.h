// Where the running nginx's llm_admin is, and with which key it is asked.
#pragma once

#include "command_line.h"

#include <optional>
#include <string>

namespace llm::ctl {

struct live_place {
    std::string url;         // ends in a slash
    std::string unix_socket; // that it is asked by, or empty
    std::string key;         // empty = none

    live_place() = default;
    live_place(const live_place&) = delete;
    live_place& operator=(const live_place&) = delete;
    ~live_place(); // wipes the key

    // As it is shown, and taken by --url.
    std::string shown() const;
};

// By --url, $LLM_ADMIN, the first llm_admin in nginx's configuration, else the usual one; the key is that of
// --key-file or $LLM_ADMIN_KEY. What is wrong, or nothing.
std::optional<std::string> find_live_place(const arguments& given, live_place& to);

} // namespace llm::ctl
