// What llm_request, and `request` of a key, make of a request's body.
#pragma once

#include "request.h"

#include "core/request/policy_edit.h"

namespace llm {

// The rules of a key, out of the zone: its table may be replaced while the request runs.
class key_policy_text {
public:
    // Two levels, a key's and its plan's.
    static constexpr size_t max_bytes = 2 * max_policy_bytes;

    void copy(std::string_view rules) { size_ = rules.copy(bytes_, sizeof bytes_); }
    std::string_view view() const { return {bytes_, size_}; }

private:
    size_t size_ = 0;
    char bytes_[max_bytes];
};

// The policy of a request: of its location, if `by_location`, and its key. nullptr: there are no rules. It
// holds until this is called again. False if it cannot be put together.
bool find_policy(const location_conf& lcf, bool by_location, std::string_view key_rules,
                 const request_policy*& policy);

// Where the body is now, in memory or in a file. Holds as long as the request is not left.
body_bytes bytes_of_body(ngx_http_request_t* r);

// For the client to read, where plan() of the body has failed. Written over by the next.
std::string_view text_of(policy_fault fault, const policy_edit& edit);

} // namespace llm
