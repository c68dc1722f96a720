// A call of llm_admin, and what it answers.
#pragma once

#include "live_place.h"
#include "output.h"

#include <jansson.h>
#include <memory>
#include <string>
#include <string_view>

namespace llm::ctl {

struct json_release {
    void operator()(json_t* value) const { json_decref(value); }
};
using json_tree = std::unique_ptr<json_t, json_release>;

struct live_answer {
    json_tree json;     // an object, or null after an error
    std::string error;  // what to tell
    bool wrong = false; // what was asked for is not there; else the call itself failed
};

live_answer call_live(const live_place& place, const char* method, const std::string& path);

// The exit code for an error, which it tells.
int tell_error(output& out, const live_answer& answer);

// A name as a part of a path.
std::string escaped_name(std::string_view name);

} // namespace llm::ctl
