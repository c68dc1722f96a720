// Feeds a text in pieces, each from memory of its own so that a read beyond it is found.
#pragma once

#include "core/reply/reply_piece.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

constexpr uint32_t whole_piece = 0;
constexpr uint32_t byte_pieces = 1;
constexpr uint32_t event_pieces = 4; // see in_events(); no seeds of piece_seed() or of its multiples
constexpr uint32_t line_pieces = 8;

// A seed for in_pieces that cuts at places of this text's own.
inline uint32_t piece_seed(std::string_view text)
{
    uint32_t hash = 2166136261u;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    return hash | 2;
}

template <typename Feed>
void in_pieces(std::string_view text, uint32_t seed, Feed&& feed)
{
    while (!text.empty()) {
        seed = seed > byte_pieces ? seed * 1664525u + 1013904223u : seed;
        size_t size = seed == whole_piece   ? text.size()
                      : seed == byte_pieces ? 1
                                            : (seed >> 16) % (seed >> 28 == 0 ? 999 : 40) + 1;
        if (size > text.size())
            size = text.size();
        const std::vector<char> piece(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(size));
        feed(std::string_view(piece.data(), piece.size()));
        text.remove_prefix(size);
    }
}

// The same in pieces that end with an empty line, as servers send their events, a chunk each, or with a line:
// calls passed(pieces) with those that the reader passes over, and feed() with each other.
template <typename Reader, typename Passed, typename Feed>
void in_events(std::string_view text, uint32_t seed, Reader& reader, Passed&& passed, Feed&& feed)
{
    std::vector<std::vector<char>> owned;
    const std::string_view piece_end = seed == line_pieces ? "\n" : "\n\n";
    while (!text.empty()) {
        // An empty line goes with the line before it.
        size_t end = text.find(piece_end);
        end = end == text.npos ? end : end + piece_end.size();
        end = end < text.size() && seed == line_pieces && text[end] == '\n' ? end + 1 : end;
        const std::string_view event = text.substr(0, end);
        owned.emplace_back(event.begin(), event.end());
        text.remove_prefix(event.size());
    }
    std::vector<llm::reply_piece> pieces;
    for (const auto& event : owned)
        pieces.push_back({event.data(), event.size(), 0, 0});
    for (std::span<llm::reply_piece> rest(pieces); !rest.empty();) {
        const size_t n = reader.pass(rest);
        passed(rest.first(n));
        rest = rest.subspan(n);
        if (!rest.empty()) {
            feed(rest[0].bytes());
            rest = rest.subspan(1);
        }
    }
}
