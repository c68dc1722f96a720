// What the operator says of the fields of a request's body: the rules of llm_request, and of `request` in key
// files, as a tree of names.
#pragma once

#include "core/api/api.h"
#include "policy_text.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// All rules hold: a field goes if one list of allowed fields lacks it, or one rule drops it; of several caps
// the lowest holds. Of several values to set, or defaults, the one that was added first holds.
class request_policy {
public:
    static constexpr size_t max_nodes = 255;
    // Of the rules of one level, so that three of them and the bounds of tokens fit.
    static constexpr size_t max_level_nodes = 71;

    // A field. Texts are those of the rules that were added, which have to live as long.
    struct node {
        std::string_view name = {};     // the last of its names
        std::string_view cap = {};      // JSON; empty: none
        std::string_view set = {};      // likewise
        std::string_view fallback = {}; // likewise: its default
        uint8_t parent = 0;             // 0: the root
        uint8_t first_child = 0;
        uint8_t next = 0;      // of the same parent; 0: none
        uint8_t allowed = 0;   // lists that name it: bits
        bound_names bound = 0; // the bound of tokens that it is
        bool drops = false;
        bool two_spellings = false;    // rules have its name in both of Gemini's, and mean both
        bool counts_tokens = false;    // below 1 it is no bound to some servers
        bool hides_bound = false;      // bounds could be in it that cannot be read
        bool bounds_within = false;    // in what is within it nothing is capped, and no bound may be there
        bool only_where_known = false; // it is another thing on paths that do not have it as a bound
        // Of it and all that is within it, after finish():
        bool puts = false;      // there is a value to set, or a default
        bound_names bounds = 0; // bounds of tokens

        // A rule looks at its value, or wants to see that it is there once.
        bool acts() const
        {
            return drops || hides_bound || bounds_within || first_child != 0 || !cap.empty() || !set.empty()
                   || !fallback.empty();
        }
    };

    // `list` is added to the numbers of the rules' own lists. False where there is no room for them, and the
    // policy must not be used.
    bool add(std::string_view rules, uint8_t list = 0);
    // To be called when all are added. False likewise.
    bool finish();

    bool empty() const { return n_nodes_ == 1; }
    // Fields could hide in a body that is not JSON, or not read, from what these rules are to do.
    bool needs_json() const { return needs_json_; }
    // The lists of allowed fields that there are: bits; 0: all is allowed.
    uint8_t lists() const { return lists_; }
    // Of `cap max_tokens`, as JSON and as a number; empty: none.
    std::string_view bound() const { return bound_; }
    uint64_t bound_value() const;

    const node& at(uint8_t i) const { return nodes_[i]; }
    uint8_t first_child(uint8_t parent) const { return nodes_[parent].first_child; }
    // json_name_mark of each name below the root.
    uint64_t marks() const { return marks_; }
    size_t nodes() const { return n_nodes_; }

private:
    // The field's node, made if there is none; 0 where there is no room.
    uint8_t place_of(std::string_view field);
    bool is_one_field(uint8_t parent, std::string_view a, std::string_view b) const;
    uint8_t child_of(uint8_t parent, std::string_view name);
    bool cap(std::string_view field, std::string_view value, bound_names bound = 0);

    size_t n_nodes_ = 1;
    uint64_t marks_ = 0;
    std::string_view bound_ = {};
    uint8_t lists_ = 0;
    bool needs_json_ = false;
    bool gives_bound_ = false; // a rule has a default for a bound of tokens
    // Only the first n_nodes_ are set.
    union {
        node nodes_[max_nodes];
    };

public:
    request_policy() { nodes_[0] = {}; }
};

// A field as a place of bounds of tokens, by its name in any case, as Go's servers take it.
bool is_within_bound(std::string_view field); // it is in one, which is a number
bool is_bound(std::string_view field);
std::string_view bound_in_its_case(std::string_view field); // as servers write it; empty: it is none
bool holds_bound(std::string_view field);                   // one is in it, or could be hidden in it

// The lower of two caps, where "" is none.
std::string_view lower_cap(std::string_view a, std::string_view b);

} // namespace llm
