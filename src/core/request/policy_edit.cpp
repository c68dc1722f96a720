#include "policy_edit.h"

#include "bounds_within.h"
#include "core/json/json_scan.h"
#include "core/json/number_order.h"
#include "member_name.h"

#include <algorithm>
#include <cstring>

namespace llm {

namespace {

constexpr auto paths_of_object =
    json_paths(std::array{json_path{.name = ""}, json_path{.name = json_others}});

void take_into_members(void* owner, const json_event& event)
{
    if (event.path != 0 && event.is != json_event::what::text) {
        static_cast<body_members*>(owner)->take(event);
    }
}

bool is_number(std::string_view text)
{
    return !text.empty() && (is_digit(text[0]) || text[0] == '-' || text[0] == 'I');
}

bool fits(std::span<const byte_edit> edits)
{
    return std::all_of(edits.begin(), edits.end(),
                       [](const byte_edit& e) { return e.text.size() <= e.from.size(); });
}

// Tells the ranges that are to be blank for members to go, with the commas that go with them: those before
// them, or behind them where nothing stays before them. False if `blank` says so.
template <class Gone, class Blank>
bool each_blank(std::span<const body_member> members, const Gone& gone, Blank&& blank)
{
    bool stays = false;
    for (size_t i = 0; i < members.size(); ++i) {
        const body_member& m = members[i];
        if (!gone[i]) {
            stays = true;
        } else if (!blank({stays ? m.comma : m.name.begin, m.value.end})) {
            return false;
        } else if (!stays && i + 1 < members.size()
                   && !blank({members[i + 1].comma, members[i + 1].comma + 1})) {
            return false;
        }
    }
    return true;
}

} // namespace

// An object of the body, and what is to become of its members.
struct policy_edit::object {
    std::span<const body_member> members;
    uint64_t end; // offset of the brace that closes it
    flags gone = {};

    bool stays_empty() const { return gone.count() == members.size(); }
};

policy_fault policy_edit::fail(policy_fault fault, uint8_t i)
{
    faulty_size_ = 0;
    uint8_t path[max_policy_depth];
    size_t depth = 0;
    for (; i != 0 && depth < max_policy_depth; i = policy_.at(i).parent) {
        path[depth++] = i;
    }
    while (depth != 0) {
        const std::string_view name = policy_.at(path[--depth]).name;
        if (faulty_size_ + name.size() + 1 > sizeof faulty_) {
            break;
        }
        if (faulty_size_ != 0) {
            faulty_[faulty_size_++] = '.';
        }
        faulty_size_ += name.copy(faulty_ + faulty_size_, name.size());
    }
    return fault;
}

policy_fault policy_edit::plan()
{
    if (members_.size() > max_members) {
        return policy_fault::too_many_fields;
    }
    object root{members_, root_end_};
    const policy_fault fault = take_object(0, root);
    gone_ = root.gone;
    if (fault == policy_fault::none && call_.needs_bound && !policy_.bound().empty()
        && (bounds_ & call_.bounds) == 0) {
        return policy_fault::no_bound;
    }
    return fault;
}

bool policy_edit::drops(uint64_t value_begin) const
{
    for (size_t i = 0; i < members_.size(); ++i) {
        if (members_[i].value.begin == value_begin) {
            return gone_[i];
        }
    }
    return false;
}

policy_fault policy_edit::take_object(uint8_t parent, object& o)
{
    for (size_t i = 0; i < o.members.size(); ++i) {
        if (const policy_fault fault = take_member(parent, o, i); fault != policy_fault::none) {
            return fault;
        }
    }
    if (parent != 0
        && !each_blank(o.members, o.gone, [&](const byte_range& range) { return edits_.add({range}); })) {
        return policy_fault::too_many_edits;
    }
    return add_missing(parent, o);
}

policy_fault policy_edit::take_member(uint8_t parent, object& o, size_t at)
{
    const body_member& member = o.members[at];
    const byte_range inside = {member.name.begin + 1, member.name.end - 1};
    const uint8_t lists = parent == 0 ? policy_.lists() : 0;
    if (inside.size() > member_name::max_escaped) {
        o.gone[at] = lists != 0;
        return lists != 0 ? policy_fault::none : fail(policy_fault::long_name, parent);
    }
    char room[member_name::max_escaped];
    const std::string_view raw = inside.size() == 0 ? std::string_view() : body_.all(inside, room);
    if (raw.size() != inside.size()) {
        return policy_fault::unreadable;
    }
    const bool two_spellings = call_.speaks == api::gemini;
    const bool may_match = parent != 0 || two_spellings || (policy_.marks() & json_name_mark(raw)) != 0
                           || !member_name::is_plain(raw);
    uint8_t found = 0;
    if (may_match) {
        const member_name name(raw);
        uint8_t doubtful = 0;
        for (uint8_t i = policy_.first_child(parent); i != 0 && found == 0; i = policy_.at(i).next) {
            const request_policy::node& n = policy_.at(i);
            const name_match match = name.match(n.name, two_spellings || n.two_spellings);
            found = match == name_match::exact ? i : 0;
            doubtful = match == name_match::doubtful && n.acts() ? i : doubtful;
        }
        // Where only named fields are allowed it is none of them, and goes.
        if (found == 0 && doubtful != 0 && lists == 0) {
            return fail(policy_fault::ambiguous_name, doubtful);
        }
    }
    if ((lists & ~policy_.at(found).allowed) != 0) {
        o.gone[at] = true;
        return policy_fault::none;
    }
    if (found == 0) {
        return policy_fault::none;
    }
    if (!policy_.at(found).acts()) {
        return note_bound(found, member.value);
    }
    if (seen_[found] || null_[found]) {
        return fail(policy_fault::duplicate_field, found);
    }
    seen_[found] = true;
    if (policy_.at(found).drops) {
        o.gone[at] = true;
        seen_[found] = false;
        return policy_fault::none;
    }
    return take_value(found, member);
}

// It has no rule, but may be a bound that the request gives.
policy_fault policy_edit::note_bound(uint8_t i, const byte_range& value)
{
    const bound_names bound = policy_.at(i).bound;
    const std::string_view begin = bound == 0 ? "n" : body_.read(body_.owner, {value.begin, value.begin + 1});
    if (begin.empty()) {
        return policy_fault::unreadable;
    }
    bounds_ |= begin[0] == 'n' ? bound_names{0} : bound;
    return policy_fault::none;
}

// What is put in the place of a value, less what caps it.
std::string_view policy_edit::capped(uint8_t i, std::string_view text) const
{
    const request_policy::node& n = policy_.at(i);
    if (n.cap.empty() || !is_number(text)) {
        return text;
    }
    // Servers cut a fraction off, and some take 0 for no bound.
    const bool unbounded = n.counts_tokens && compare_numbers(text, "1") < 0;
    return unbounded || compare_numbers(text, n.cap) > 0 ? n.cap : text;
}

bool policy_edit::replace(uint8_t i, const byte_range& value, std::string_view text)
{
    bounds_ |= policy_.at(i).bound;
    return edits_.add({value, text});
}

policy_fault policy_edit::take_value(uint8_t i, const body_member& member)
{
    const request_policy::node& n = policy_.at(i);
    if (!n.set.empty()) {
        return replace(i, member.value, capped(i, n.set)) ? policy_fault::none : policy_fault::too_many_edits;
    }
    const std::string_view begin = body_.read(body_.owner, {member.value.begin, member.value.begin + 1});
    if (begin.empty()) {
        return policy_fault::unreadable;
    }
    const char first = begin[0];
    if (first == 'n') {
        if (!n.fallback.empty() && n.bound == 0) {
            return replace(i, member.value, capped(i, n.fallback)) ? policy_fault::none
                                                                   : policy_fault::too_many_edits;
        }
        // As if it were not there.
        null_[i] = true;
        nulls_[i] = member.value;
        seen_[i] = false;
        return policy_fault::none;
    }
    if (n.hides_bound && (call_.bounds & bound_name::parameters_max_tokens) != 0) {
        return fail(policy_fault::hidden_bound, i);
    }
    if (n.bounds_within && call_.bounds != bound_name::none) {
        if (const bounds_within found = bounds_within_of(member.value, body_); found != bounds_within::none) {
            return found == bounds_within::some ? fail(policy_fault::bound_within, i)
                                                : policy_fault::unreadable;
        }
    }
    if (n.cap.empty()) {
        bounds_ |= n.bound;
    } else if (!(n.only_where_known && (n.bound & call_.bounds) == 0)) {
        if (const policy_fault fault = take_number(i, member.value); fault != policy_fault::none) {
            return fault;
        }
    }
    if (n.first_child == 0) {
        return policy_fault::none;
    }
    if (first != '{') {
        return puts_value_within(i) ? fail(policy_fault::not_an_object, i) : policy_fault::none;
    }
    std::array<body_member, max_members> room;
    body_members kept;
    kept.keep_in(room);
    json_scanner scanner;
    scanner.start(member.value.begin);
    scanner.be_strict();
    for (uint64_t at = member.value.begin; at < member.value.end;) {
        const std::string_view piece = body_.read(body_.owner, {at, member.value.end});
        if (piece.empty()
            || scanner.feed(piece, paths_of_object.data(), {take_into_members, &kept}) != piece.size()) {
            return policy_fault::unreadable;
        }
        at += piece.size();
    }
    if (!kept.all_kept()) {
        return fail(policy_fault::too_many_within, i);
    }
    object o{kept.kept(), member.value.end - 1};
    return take_object(i, o);
}

policy_fault policy_edit::take_number(uint8_t i, const byte_range& value)
{
    const request_policy::node& n = policy_.at(i);
    char room[json_scanner::max_text];
    if (value.size() > sizeof room) {
        return fail(policy_fault::not_a_number, i);
    }
    const std::string_view text = body_.all(value, room);
    if (text.empty()) {
        return policy_fault::unreadable;
    }
    if (!is_number(text)) {
        return fail(policy_fault::not_a_number, i);
    }
    bounds_ |= n.bound;
    const std::string_view becomes = capped(i, text);
    return becomes.data() == text.data() || edits_.add({value, becomes}) ? policy_fault::none
                                                                         : policy_fault::too_many_edits;
}

// A fault of what is not an object hides a value that is to be there, or is to be lower. What bounds nothing
// in this API does not matter.
bool policy_edit::puts_value_within(uint8_t i) const
{
    for (uint8_t c = policy_.first_child(i); c != 0; c = policy_.at(c).next) {
        const request_policy::node& n = policy_.at(c);
        const bool matters = n.bound == 0 || (n.bound & call_.bounds) != 0;
        if (!n.set.empty() || (matters && !(n.fallback.empty() && n.cap.empty())) || puts_value_within(c)) {
            return true;
        }
    }
    return false;
}

// A bound is to be given where this API has it, and none beside it is given: by the request, or by a rule.
bool policy_edit::wants_bound(uint8_t i, bound_names of) const
{
    const request_policy::node& n = policy_.at(i);
    const bound_names others = n.parent == 0 ? call_.bounds & bound_name::of_root : n.bound;
    if ((n.bound & of) == 0 || (bounds_ & others) != 0) {
        return false;
    }
    for (uint8_t c = policy_.first_child(n.parent); c != 0; c = policy_.at(c).next) {
        if ((policy_.at(c).bound & others) != 0 && !policy_.at(c).set.empty()) {
            return false;
        }
    }
    return true;
}

// Something is to be put there if it is not there.
bool policy_edit::wants(uint8_t i) const
{
    const request_policy::node& n = policy_.at(i);
    if (!n.set.empty() || (!n.fallback.empty() && (n.bound == 0 || wants_bound(i, call_.bounds)))
        || (!policy_.bound().empty() && wants_bound(i, call_.bound_to_give))) {
        return true;
    }
    if (!n.puts && (n.bounds & call_.bound_to_give) == 0) {
        return false;
    }
    for (uint8_t c = n.first_child; c != 0; c = policy_.at(c).next) {
        if (wants(c)) {
            return true;
        }
    }
    return false;
}

bool policy_edit::insert(uint64_t at, std::string_view text)
{
    return edits_.add({{at, at}, text});
}

// The value of a field that is not there.
bool policy_edit::put_value(uint8_t i, uint64_t at)
{
    const request_policy::node& n = policy_.at(i);
    const std::string_view own = !n.set.empty() ? n.set : n.fallback;
    if (!own.empty() || n.first_child == 0 || n.bound != 0) {
        gives_bound_ = gives_bound_ || (own.empty() && n.bound != 0);
        bounds_ |= n.bound;
        const std::string_view text = own.empty() ? n.cap : capped(i, own);
        return null_[i] ? edits_.add({nulls_[i], text}) : insert(at, text);
    }
    bool first = true;
    for (uint8_t c = n.first_child; c != 0; c = policy_.at(c).next) {
        if (!wants(c)) {
            continue;
        }
        if (!insert(at, first ? "{\"" : ",\"") || !insert(at, policy_.at(c).name) || !insert(at, "\":")
            || !put_value(c, at)) {
            return false;
        }
        first = false;
    }
    return insert(at, "}");
}

policy_fault policy_edit::add_missing(uint8_t parent, object& o)
{
    // Of most requests nothing is.
    const request_policy::node& in = policy_.at(parent);
    const bool is_bound_here = (bounds_ & call_.bounds & bound_name::of_root) != 0;
    const bound_names given = is_bound_here ? bounds_ | bound_name::of_root : bounds_;
    if (!in.puts && (in.bounds & call_.bound_to_give & ~given) == 0) {
        return policy_fault::none;
    }
    bool empty = o.stays_empty();
    // Bounds that the configuration gives come before those that are given because there is none.
    for (const bool bounds : {false, true}) {
        for (uint8_t i = policy_.first_child(parent); i != 0; i = policy_.at(i).next) {
            const bool is_bound =
                policy_.at(i).bound != 0 && policy_.at(i).set.empty() && policy_.at(i).fallback.empty();
            if (seen_[i] || is_bound != bounds || !wants(i)) {
                continue;
            }
            seen_[i] = true;
            if (null_[i]) {
                const bool is_object = policy_.at(i).first_child != 0;
                if (!put_value(i, nulls_[i].begin) || (is_object && !edits_.add({nulls_[i]}))) {
                    return policy_fault::too_many_edits;
                }
                continue;
            }
            if ((!empty || parent == 0) && !insert(o.end, ",")) {
                return policy_fault::too_many_edits;
            }
            if (!insert(o.end, "\"") || !insert(o.end, policy_.at(i).name) || !insert(o.end, "\":")
                || !put_value(i, o.end)) {
                return policy_fault::too_many_edits;
            }
            empty = false;
        }
    }
    return policy_fault::none;
}

// A member of the root that gets longer, edited, behind all that stays.
bool policy_edit::move(const body_member& member, std::span<const byte_edit> edits, body_edit& to,
                       bool& first) const
{
    if (!to.append(first ? "" : ",") || !to.append(member.name) || !to.append(":")) {
        return false;
    }
    first = false;
    uint64_t at = member.value.begin;
    for (const byte_edit& e : edits) {
        if (!to.append(byte_range{at, e.from.begin}) || !to.append(e.text)) {
            return false;
        }
        at = e.from.end;
    }
    return to.append(byte_range{at, member.value.end});
}

bool policy_edit::write(body_edit& to, uint64_t also_gone)
{
    const std::span<const byte_edit> all = edits_.all();
    const auto edits_of = [&](const body_member& m) {
        const auto first = std::find_if(all.begin(), all.end(),
                                        [&](const byte_edit& e) { return e.from.begin >= m.value.begin; });
        const auto last =
            std::find_if(first, all.end(), [&](const byte_edit& e) { return e.from.begin >= m.value.end; });
        return std::span<const byte_edit>(first, last);
    };
    flags gone = gone_;
    flags moves;
    for (size_t i = 0; i < members_.size(); ++i) {
        const body_member& m = members_[i];
        if (also_gone != 0 && m.value.begin == also_gone) {
            gone[i] = true;
            continue;
        }
        if (gone[i]) {
            continue;
        }
        const std::span<const byte_edit> own = edits_of(m);
        moves[i] = !fits(own);
        gone[i] = moves[i];
        for (const byte_edit& e : own) {
            if (!moves[i] && !to.replace(e.from, e.text)) {
                return false;
            }
        }
    }
    if (!each_blank(members_, gone, [&](const byte_range& range) { return to.blank(range); })) {
        return false;
    }
    leaves_none_ = gone.count() == members_.size();
    bool first = leaves_none_;
    for (size_t i = 0; i < members_.size(); ++i) {
        if (moves[i] && !move(members_[i], edits_of(members_[i]), to, first)) {
            return false;
        }
    }
    for (const byte_edit& e : all) {
        if (e.from.begin != root_end_) {
            continue;
        }
        if (!first && !to.append(e.text)) {
            return false;
        }
        first = false; // its comma
    }
    return true;
}

} // namespace llm
