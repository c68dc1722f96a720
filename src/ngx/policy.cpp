#include "policy.h"

#include "core/request/member_name.h"

#include <algorithm>

namespace llm {

static_assert(body_members::usual == 64 && policy_edit::max_members == 128
              && member_name::max_escaped == 1024); // as text_of() says

namespace {

// The one that was put together last, of a location's rules and a key's: a worker has requests of few keys.
struct {
    bool is_whole = false;
    uint64_t level = 0; // its number
    size_t size = 0;
    char key_rules[key_policy_text::max_bytes];
    request_policy policy;
} last;

// What was read last of a body's file.
struct {
    uint64_t begin = 0;
    size_t size = 0;
    char bytes[4096];
} window;

std::string_view read_file(const ngx_buf_t* b, uint64_t at, const byte_range& range)
{
    if (range.begin < window.begin || range.begin >= window.begin + window.size) {
        const off_t from = b->file_pos + static_cast<off_t>(range.begin - at);
        const auto size = static_cast<size_t>(
            std::min<off_t>(b->file_last - from, static_cast<off_t>(sizeof window.bytes)));
        const ssize_t n = ngx_read_file(b->file, reinterpret_cast<u_char*>(window.bytes), size, from);
        window.begin = range.begin;
        window.size = n > 0 ? static_cast<size_t>(n) : 0;
    }
    const uint64_t skip = range.begin - window.begin;
    return {window.bytes + skip, std::min<uint64_t>(range.size(), window.size - skip)};
}

std::string_view read_body(void* owner, const byte_range& range)
{
    auto* r = static_cast<ngx_http_request_t*>(owner);
    if (!r->request_body) {
        // All of it is behind the header, see scan_body_ahead().
        return {reinterpret_cast<char*>(r->header_in->pos) + range.begin, range.size()};
    }
    uint64_t at = 0;
    for (const ngx_chain_t* cl = r->request_body->bufs; cl; cl = cl->next) {
        const ngx_buf_t* b = cl->buf;
        const auto size = static_cast<uint64_t>(ngx_buf_size(b));
        if (range.begin < at + size) {
            const uint64_t skip = range.begin - at;
            if (ngx_buf_in_memory(b)) {
                return {reinterpret_cast<char*>(b->pos) + skip, std::min(range.size(), size - skip)};
            }
            return read_file(b, at, range);
        }
        at += size;
    }
    return {};
}

} // namespace

bool find_policy(const location_conf& lcf, bool by_location, std::string_view key_rules,
                 const request_policy*& policy)
{
    const policy_level* level = by_location ? lcf.request : nullptr;
    if (key_rules.empty()) {
        policy = level ? &level->policy : nullptr;
        return true;
    }
    policy = &last.policy;
    // Not by its place, at which a later configuration may have another one.
    const uint64_t number = level ? level->number : 0;
    if (last.is_whole && last.level == number && key_rules == std::string_view(last.key_rules, last.size)) {
        return true;
    }
    last.is_whole = false;
    last.level = number;
    last.size = key_rules.copy(last.key_rules, sizeof last.key_rules);
    last.policy = {};
    if (!last.policy.add({last.key_rules, last.size})
        || (level && !last.policy.add(level->rules.text(), list_of_location)) || !last.policy.finish()) {
        return false;
    }
    last.is_whole = true;
    return true;
}

body_bytes bytes_of_body(ngx_http_request_t* r)
{
    window.size = 0;
    return {read_body, r};
}

std::string_view text_of(policy_fault fault, const policy_edit& edit)
{
    static char text[max_policy_field + 128];
    std::string_view says;
    switch (fault) {
    case policy_fault::not_a_number:
        says = "is not a number";
        break;
    case policy_fault::not_an_object:
        says = "is not an object";
        break;
    case policy_fault::duplicate_field:
        says = "stands twice in it";
        break;
    case policy_fault::ambiguous_name:
        says = "is spelled in another way than the API's";
        break;
    case policy_fault::too_many_within:
        says = "has more than 128 fields";
        break;
    case policy_fault::long_name:
        says = "has a field whose name has more than 1024 bytes";
        break;
    case policy_fault::hidden_bound:
        says = "could hide a bound of tokens: send \"parameters\" in its place";
        break;
    case policy_fault::bound_within:
        says = "has a bound of tokens within it, which is not lowered there: leave that out";
        break;
    case policy_fault::too_many_fields:
        return "it has more than 64 fields, which is the most where there are rules for them";
    case policy_fault::no_bound:
        return "completions are bounded here, and it has no bound of tokens that is known, such as "
               "\"max_tokens\"";
    default:
        return "what may be asked here cannot be checked in it";
    }
    if (edit.faulty().empty()) {
        return fault == policy_fault::long_name ? "a field's name has more than 1024 bytes"
                                                : "a field of it cannot be read";
    }
    u_char* end = ngx_snprintf(reinterpret_cast<u_char*>(text), sizeof text, "the field \"%*s\" %*s",
                               edit.faulty().size(), edit.faulty().data(), says.size(), says.data());
    return {text, static_cast<size_t>(end - reinterpret_cast<u_char*>(text))};
}

} // namespace llm
