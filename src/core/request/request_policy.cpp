#include "request_policy.h"

#include "bound_paths.h"
#include "member_name.h"

#include "core/base/chars.h"
#include "core/json/json_count.h"
#include "core/json/json_scan.h"
#include "core/json/number_order.h"

#include <algorithm>
#include <iterator>

namespace llm {

namespace {

constexpr std::string_view bound_of_all = "max_tokens";

// Triton's for vLLM: a string of JSON, which goes before `parameters`.
constexpr std::string_view hides_bounds = "sampling_parameters";

// What these have within them may have bounds of its own.
constexpr std::string_view have_bounds_within[] = {"tools", "plugins", "fallbacks",
                                                   "context_window_fallbacks", "content_policy_fallbacks"};

bool same_name(std::string_view a, std::string_view b)
{
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return ascii_lower(x) == ascii_lower(y); });
}

bool is_inside(std::string_view field, std::string_view outer)
{
    return field.size() > outer.size() && field[outer.size()] == '.'
           && same_name(field.substr(0, outer.size()), outer);
}

template <class F>
bool any_bound(F&& is)
{
    return std::any_of(std::begin(bound_paths), std::end(bound_paths),
                       [&](const bound_path& bound) { return is(bound.field); });
}

constexpr std::string_view gemini_config = "generationConfig";

// Whether a bound that is not Gemini's has this name on its way.
bool is_of_other_bound(std::string_view name)
{
    return any_bound([name](std::string_view bound) {
        bool is = false;
        const bool is_geminis = is_same_in_two_spellings(bound.substr(0, bound.find('.')), gemini_config);
        while (!is && !is_geminis && !bound.empty()) {
            const size_t dot = std::min(bound.find('.'), bound.size());
            is = bound.substr(0, dot) == name;
            bound.remove_prefix(std::min(dot + 1, bound.size()));
        }
        return is;
    });
}

} // namespace

bool is_within_bound(std::string_view field)
{
    return any_bound([&](std::string_view bound) { return is_inside(field, bound); });
}

bool is_bound(std::string_view field)
{
    return !bound_in_its_case(field).empty();
}

std::string_view bound_in_its_case(std::string_view field)
{
    std::string_view found;
    any_bound([&](std::string_view bound) {
        found = same_name(field, bound) ? bound : "";
        return !found.empty();
    });
    return found;
}

bool holds_bound(std::string_view field)
{
    return same_name(field, hides_bounds)
           || any_bound([&](std::string_view bound) { return is_inside(bound, field); });
}

std::string_view lower_cap(std::string_view a, std::string_view b)
{
    return a.empty() || (!b.empty() && compare_numbers(b, a) < 0) ? b : a;
}

uint64_t request_policy::bound_value() const
{
    uint64_t value = 0;
    return json_count(bound_, UINT64_MAX / 2, value) ? value : 0;
}

// Whether rules for these two names of one object are about the same field, as they are to Gemini's servers.
bool request_policy::is_one_field(uint8_t parent, std::string_view a, std::string_view b) const
{
    if (!is_same_in_two_spellings(a, b)) {
        return false;
    }
    std::string_view top = a;
    for (uint8_t i = parent; i != 0; i = nodes_[i].parent) {
        top = nodes_[i].name;
    }
    // The bounds of other APIs have one spelling, in which they are put into a body.
    return is_same_in_two_spellings(top, gemini_config) || !(is_of_other_bound(a) || is_of_other_bound(b));
}

uint8_t request_policy::child_of(uint8_t parent, std::string_view name)
{
    // In the order in which they were added, which is that of what is put into a body.
    uint8_t* last = &nodes_[parent].first_child;
    for (; *last != 0; last = &nodes_[*last].next) {
        node& n = nodes_[*last];
        if (n.name == name) {
            return *last;
        }
        if (is_one_field(parent, n.name, name)) {
            n.two_spellings = true;
            marks_ |= parent == 0 ? json_name_mark(name) : 0;
            return *last;
        }
    }
    if (n_nodes_ == max_nodes) {
        return 0;
    }
    *last = static_cast<uint8_t>(n_nodes_);
    nodes_[n_nodes_] = {.name = name, .parent = parent};
    if (parent == 0) {
        marks_ |= json_name_mark(name);
    }
    return static_cast<uint8_t>(n_nodes_++);
}

uint8_t request_policy::place_of(std::string_view field)
{
    uint8_t at = 0;
    for (;;) {
        const size_t dot = field.find('.');
        at = child_of(at, field.substr(0, dot));
        if (at == 0 || dot == std::string_view::npos) {
            return at;
        }
        field.remove_prefix(dot + 1);
    }
}

bool request_policy::cap(std::string_view field, std::string_view value, bound_names bound)
{
    const uint8_t at = place_of(field);
    if (at == 0) {
        return false;
    }
    nodes_[at].cap = lower_cap(nodes_[at].cap, value);
    nodes_[at].bound = bound;
    nodes_[at].counts_tokens = is_bound(field);
    return true;
}

bool request_policy::add(std::string_view rules, uint8_t list)
{
    policy_rule rule;
    while (!rules.empty()) {
        if (!take_rule(rules, rule)) {
            return false;
        }
        if (rule.action == policy_action::cap && rule.field == bound_of_all) {
            bound_ = lower_cap(bound_, rule.value);
            continue;
        }
        needs_json_ = needs_json_ || rule.action != policy_action::set_default;
        if (rule.action == policy_action::cap) {
            if (!cap(rule.field, rule.value)) {
                return false;
            }
            continue;
        }
        const uint8_t at = place_of(rule.field);
        if (at == 0) {
            return false;
        }
        node& n = nodes_[at];
        switch (rule.action) {
        case policy_action::allow:
            n.allowed |= static_cast<uint8_t>(1u << (list + rule.list));
            lists_ |= n.allowed;
            break;
        case policy_action::drop:
            n.drops = true;
            break;
        case policy_action::set_default:
            n.fallback = n.fallback.empty() ? rule.value : n.fallback;
            gives_bound_ = gives_bound_ || is_bound(rule.field);
            break;
        default:
            n.set = n.set.empty() ? rule.value : n.set;
            break;
        }
    }
    return true;
}

bool request_policy::finish()
{
    if (!bound_.empty() || gives_bound_) {
        for (const bound_path& path : bound_paths) {
            // A rule of its own holds on every path.
            const uint8_t at = path.bound == bound_name::max_length ? place_of(path.field) : 0;
            if (at != 0 && nodes_[at].cap.empty()) {
                nodes_[at].only_where_known = true;
            }
            if (!cap(path.field, bound_, path.bound)) {
                return false;
            }
        }
    }
    if (!bound_.empty()) {
        const uint8_t at = child_of(0, hides_bounds);
        if (at == 0) {
            return false;
        }
        nodes_[at].hides_bound = true;
        for (const std::string_view name : have_bounds_within) {
            const uint8_t place = child_of(0, name);
            if (place == 0) {
                return false;
            }
            nodes_[place].bounds_within = true;
        }
    }
    if (lists_ != 0) {
        // What the gateway goes by.
        for (const std::string_view name : {"model", "stream"}) {
            const uint8_t at = child_of(0, name);
            if (at == 0) {
                return false;
            }
            nodes_[at].allowed = 0xff;
        }
    }
    // Whatever is within a node comes behind it.
    for (size_t i = n_nodes_ - 1; i != 0; --i) {
        node& n = nodes_[i];
        n.puts = n.puts || !n.set.empty() || !n.fallback.empty();
        n.bounds |= n.bound;
        nodes_[n.parent].puts = nodes_[n.parent].puts || n.puts;
        nodes_[n.parent].bounds |= n.bounds;
    }
    return true;
}

} // namespace llm
