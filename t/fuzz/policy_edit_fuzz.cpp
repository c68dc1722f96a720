// Whatever the rules and the body: what comes out is JSON in which nothing stands twice, the same however the
// body is read, and to which the same rules have nothing to add.
//
// The input: a path, rules as in a configuration, one on each line, an empty line, and the body.
#include "core/request/policy_edit.h"
#include "core/request/request_facts.h"
#include "keys/request_rules.h"

#include <jansson.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace llm;

void require(bool holds)
{
    if (!holds)
        abort();
}

struct kept_body {
    std::string_view text;
    size_t step;
};

std::string_view read(void* owner, const byte_range& range)
{
    const auto& body = *static_cast<kept_body*>(owner);
    require(range.begin < range.end && range.end <= body.text.size());
    return body.text.substr(range.begin, std::min<size_t>(range.size(), body.step));
}

std::string_view take_line(std::string_view& text)
{
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return line;
}

std::string_view take_word(std::string_view& line)
{
    const size_t end = line.find(' ');
    const std::string_view word = line.substr(0, end);
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
    return word;
}

std::string edited(std::string_view body, const body_edit& edit)
{
    std::string tail;
    for (const byte_edit& piece : edit.tail()) {
        require(piece.copied.begin <= piece.copied.end && piece.copied.end <= edit.keep());
        tail.append(piece.text).append(body.substr(piece.copied.begin, piece.copied.size()));
    }
    std::string out(body);
    for (const byte_edit& e : edit.in_place()) {
        require(e.text.size() <= e.from.size() && e.from.end <= edit.keep());
        std::fill(&out[e.from.begin], &out[e.from.begin] + e.from.size(), ' ');
        out.replace(e.from.begin, e.text.size(), e.text);
    }
    out.resize(edit.keep());
    out += tail;
    require(out.size() == edit.size());
    return out;
}

struct outcome {
    bool judged = false; // the body has no fault of its own
    policy_fault fault = policy_fault::none;
    std::string body;
};

outcome apply(const request_policy& policy, const api_call& call, std::string_view text, size_t step)
{
    outcome o;
    request_facts facts;
    std::vector<body_member> room(body_members::usual);
    facts.keep_members(room);
    facts.feed(text);
    if (facts.finish() != body_fault::none || !facts.members().all_kept())
        return o;
    o.judged = true;
    kept_body body{text, step};
    policy_edit edit(policy, call, facts.members().kept(), facts.root_end(), {read, &body});
    o.fault = edit.plan();
    require(edit.faulty().size() <= max_policy_field);
    if (o.fault != policy_fault::none)
        return o;
    body_edit to(facts.root_end());
    require(edit.write(to));
    o.body = edited(text, to);
    return o;
}

json_t* parse(const std::string& text)
{
    return json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, nullptr);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    std::string_view text(reinterpret_cast<const char*>(data), size);
    const api_call call = call_of_path(take_line(text));
    request_rules rules;
    for (std::string_view line = take_line(text); !line.empty(); line = take_line(text)) {
        const auto* const name =
            std::find(std::begin(policy_actions), std::end(policy_actions), take_word(line));
        if (name == std::end(policy_actions))
            continue;
        const auto action = static_cast<policy_action>(name - std::begin(policy_actions));
        const std::string_view field = take_word(line);
        const bool has_value = action != policy_action::allow && action != policy_action::drop;
        const std::string value = has_value ? json_of_argument(line).value_or("") : "";
        if (request_rules::field_fault(action, field).empty()
            && (!has_value || request_rules::value_fault(action, field, value).empty()))
            if (!rules.add(action, field, value).empty())
                return 0;
    }
    request_policy policy;
    require(policy.add(rules.text()) && policy.finish());
    const outcome first = apply(policy, call, text, SIZE_MAX);
    const outcome pieces = apply(policy, call, text, 1);
    require(first.judged == pieces.judged && first.fault == pieces.fault && first.body == pieces.body);
    if (!first.judged || first.fault != policy_fault::none)
        return 0;
    const outcome again = apply(policy, call, first.body, SIZE_MAX);
    // More members than are kept may have come to it.
    if (!again.judged) {
        request_facts facts;
        facts.feed(first.body);
        require(facts.finish() == body_fault::none);
        return 0;
    }
    require(again.fault == policy_fault::none);
    json_t* once = parse(first.body);
    json_t* twice = parse(again.body);
    require((once == nullptr) == (twice == nullptr) && (once == nullptr || json_equal(once, twice)));
    json_decref(once);
    json_decref(twice);
    return 0;
}
