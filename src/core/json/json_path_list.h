// A list of paths under construction, in any order that has each after its parent, with what the owner knows
// of each.
#pragma once

#include "json_scan.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

template <typename Mark, size_t Max>
class json_path_list {
public:
    std::array<json_path, Max> paths{};
    std::array<Mark, Max> marks{};
    size_t size = 0;

    // The new path's place in the list: the parent of others.
    constexpr uint8_t add(const json_path& path, const Mark& mark)
    {
        paths[size] = path;
        marks[size] = mark;
        return static_cast<uint8_t>(size++);
    }
};

template <typename Mark, size_t N>
struct json_path_table {
    std::array<json_path, N> paths; // for json_scanner::feed
    std::array<Mark, N> marks;      // by json_event::path
};

// As json_path wants them: siblings together, json_elements first.
template <size_t N, typename Mark, size_t Max>
consteval json_path_table<Mark, N> json_path_table_of(const json_path_list<Mark, Max>& list)
{
    std::array<json_path, N> paths{};
    json_path_table<Mark, N> table{};
    std::array<uint8_t, N> order{};
    std::array<uint8_t, N> place{};
    // Lists of the children of each, where 0 is the end. In few steps, of which compilers take so many only.
    std::array<uint8_t, N> first{};
    std::array<uint8_t, N> next{};
    for (const bool elements : {false, true}) {
        for (size_t child = N - 1; child != 0; --child) {
            const json_path& path = list.paths[child];
            if ((path.name == json_elements) == elements) {
                next[child] = first[path.parent];
                first[path.parent] = static_cast<uint8_t>(child);
            }
        }
    }
    size_t n = 1;
    for (size_t i = 0; i < n; ++i) {
        for (uint8_t child = first[order[i]]; child != 0; child = next[child]) {
            order[n] = child;
            place[child] = static_cast<uint8_t>(n++);
        }
    }
    for (size_t i = 0; i < N; ++i) {
        paths[i] = list.paths[order[i]];
        paths[i].parent = place[paths[i].parent];
        table.marks[i] = list.marks[order[i]];
    }
    table.paths = json_paths(paths);
    return table;
}

} // namespace llm
