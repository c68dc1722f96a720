#include "bounds_within.h"

#include "bound_paths.h"

#include "core/json/json_path_list.h"
#include "core/json/json_scan.h"

namespace llm {

namespace {

struct no_mark {};

using path_list = json_path_list<no_mark, 80>;

// The last names of all bounds, but the one that means other things elsewhere.
constexpr void add_bounds(path_list& l, uint8_t object)
{
    const size_t first = l.size;
    for (const bound_path& bound : bound_paths) {
        const std::string_view name = bound.field.substr(bound.field.rfind('.') + 1);
        bool has = bound.bound == bound_name::max_length;
        for (size_t i = first; i != l.size && !has; ++i) {
            has = l.paths[i].name == name;
        }
        if (!has) {
            l.add({.name = name, .parent = object, .any_case = true}, {});
        }
    }
}

constexpr path_list bound_paths_within()
{
    path_list l;
    const auto way = [&l](std::string_view name, uint8_t parent) {
        return l.add({.name = name, .parent = parent, .silent = true}, {});
    };
    const uint8_t element = way(json_elements, way("", 0));
    add_bounds(l, element);
    way("input_examples", element); // arguments of a function, which may have any names
    const uint8_t object = way(json_others, element);
    add_bounds(l, object);
    add_bounds(l, way(json_elements, object)); // as LiteLLM's fallbacks have them, by model
    const uint8_t tool = way(json_elements, way("tools", object));
    add_bounds(l, tool);
    add_bounds(l, way(json_others, tool));
    return l;
}

constexpr path_list list = bound_paths_within();
constexpr auto table = json_path_table_of<list.size>(list);

} // namespace

bounds_within bounds_within_of(const byte_range& value, const body_bytes& body)
{
    bool found = false;
    const auto take = [](void* owner, const json_event& event) {
        // An object is what a schema says.
        if (event.is == json_event::what::value && event.type != json_type::null) {
            *static_cast<bool*>(owner) = true;
        }
    };
    json_scanner scanner;
    scanner.start(value.begin);
    scanner.be_strict();
    for (uint64_t at = value.begin; at < value.end && !found;) {
        const std::string_view piece = body.read(body.owner, {at, value.end});
        if (piece.empty() || scanner.feed(piece, table.paths.data(), {take, &found}) != piece.size()) {
            return bounds_within::unreadable;
        }
        at += piece.size();
    }
    return found ? bounds_within::some : bounds_within::none;
}

} // namespace llm
