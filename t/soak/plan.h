// What happens to each request: drawn from the seed and its number alone, so that a run can be had again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace soak {

enum scope : unsigned { by_key, by_user, by_model, by_address, by_zone, scopes };

inline constexpr std::array<const char*, scopes> scope_names = {"key", "user", "model", "address", "zone"};

// So many of each, as t/soak.t sets them up; keys 2n and 2n + 1 are user n's.
inline constexpr std::array<unsigned, scopes> subjects = {6, 3, 4, 4, 1};

// One of each scope: whom a request is counted for.
using subject_set = std::array<unsigned, scopes>;

struct plan {
    subject_set who{};
    std::string path;
    bool stream = false;
    unsigned prompt = 0;     // tokens
    unsigned completion = 0; // tokens; a stream has an event for each
    unsigned max_tokens = 0;

    // The client sends the request in two pieces, this far apart.
    std::size_t split = 0;
    unsigned split_ms = 0;
    // It leaves when it has sent, or received, so many bytes; npos = never.
    std::size_t leaves_after_sent = std::string::npos;
    unsigned leaves_in_ms = 0;
    std::size_t leaves_after_received = std::string::npos;
    bool client_resets = false;
    bool client_stays_connected = false; // for its next request

    // The upstream sends its reply in so many slices, each after so many milliseconds, and leaves when it has
    // sent this part (of 1000) of it; above 1000 = never.
    unsigned slices = 1;
    unsigned slice_ms = 0;
    unsigned cuts_at = 1001;
    bool upstream_resets = false;
    bool cuts_first = false; // of two replies, where an internal redirect makes two
    bool fails = false;      // with status 500

    static plan draw(std::uint64_t seed, std::uint64_t number);
    std::string request(std::string_view id) const;
};

} // namespace soak
