// A reply as the upstream sends it, piece by piece, and what is known of it after each piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace soak {

// Tokens by the classes of the access log: cached and cache_write are also prompt, reasoning is also
// completion.
struct counts {
    unsigned prompt = 0;
    unsigned cached = 0;
    unsigned cache_write = 0;
    unsigned completion = 0;
    unsigned reasoning = 0;
};

// What the bytes of a reply so far have told and shown.
struct so_far {
    counts told;
    bool tells_prompt = false;
    bool tells_completion = false;
    std::size_t text = 0; // bytes since the completion was told last,
    unsigned texts = 0;   // in so many pieces
};

struct piece {
    std::string bytes;
    std::size_t text = 0; // bytes of text in it
    so_far after;
};

struct script {
    std::string type;        // Content-Type
    std::string more_head;   // further header lines
    std::string_view border; // ends each piece; empty: it is in one piece
    bool is_json = false;    // read as JSON: counts in it stand for all of its text
    bool ends_badly = false; // with an error in it
    std::vector<piece> pieces;
    // What the client is to get: without what is there only because the gateway has asked for it.
    std::string seen;

    // After the first n pieces.
    so_far after(std::size_t n) const { return n == 0 ? so_far{} : pieces[n - 1].after; }
    so_far whole() const { return after(pieces.size()); }
};

// A script with its framing.
struct framed_reply {
    std::string bytes;
    std::size_t head = 0;            // bytes of the header
    std::vector<std::size_t> begins; // where each piece begins

    // How many pieces have begun within the first n bytes.
    std::size_t begun(std::size_t n) const;
};

// In chunks, if it is a stream, which are cut anywhere: `seed` says where.
framed_reply frame(const script& s, std::uint64_t seed);

} // namespace soak
