// One HTTP request of llmctl, by libcurl.
#pragma once

#include <string>

namespace llm::ctl {

struct http_request {
    const char* method = "GET";
    std::string url;
    std::string unix_socket;          // instead of the url's host; empty = none
    const std::string* key = nullptr; // sent as "Authorization: Bearer"
};

struct http_answer {
    long status = 0; // 0: there is none
    std::string body;
    std::string error; // why
};

// No proxy, no redirects: a key goes nowhere but to the address that is named.
http_answer send_http(const http_request& request);

} // namespace llm::ctl
