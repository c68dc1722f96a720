// What to type to try a key.
#pragma once

#include "core/shared/key_record.h"
#include "nginx_conf.h"

#include <string>

namespace llm::ctl {

// A line of curl that asks, in the API that a location has for keys of this file, with the key as $KEY. If
// the configuration (null if not known) tells none, one for chat completions at the usual address. Empty for
// a key without a secret where only nginx knows who has its name.
std::string curl_line(const nginx_conf* conf, const std::string& key_file, const key_record& key,
                      const key_policy& policy);

} // namespace llm::ctl
