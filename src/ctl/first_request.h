// What to type to try a key.
#pragma once

#include "nginx_conf.h"

#include <string>
#include <vector>

namespace llm::ctl {

// Where chat completions are asked for, as the configuration (null if not known) says.
std::string chat_address(const nginx_conf* conf);

// A model for it: the first of these that is no pattern, or of the configuration's; empty if none is known.
std::string known_model(const std::vector<std::string>& allowed, const nginx_conf* conf);

// A line of curl, in which the key is $KEY.
std::string curl_line(const std::string& address, const std::string& model);

} // namespace llm::ctl
