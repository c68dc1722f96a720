// A request's body must say the same in any pieces, and be faulty in all or in none. What asks for usage in
// its place must leave a JSON object with the same members, and stream_options as they were but for what was
// asked.
#include "core/request/request_facts.h"
#include "core/request/usage_inject.h"

#include "pieces.h"

#include <jansson.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace {

using namespace llm;

constexpr usage_inject modes[] = {usage_inject::off, usage_inject::final, usage_inject::continuous};

void require(bool holds)
{
    if (!holds)
        abort();
}

std::string edited(std::string_view body, const body_edit& edit)
{
    std::string tail;
    for (const byte_edit& piece : edit.tail()) {
        const byte_range& range = piece.copied;
        require(range.begin <= range.end && range.end <= edit.keep());
        require((range.begin == range.end) != piece.text.empty());
        tail.append(piece.text).append(body.substr(range.begin, range.size()));
    }
    std::string out(body);
    uint64_t before = 0;
    for (const byte_edit& e : edit.in_place()) {
        const byte_range& range = e.from;
        require(e.text.empty() && before <= range.begin && range.begin < range.end
                && range.end <= edit.keep());
        std::fill(&out[range.begin], &out[range.end - 1] + 1, ' ');
        before = range.end;
    }
    require(edit.keep() < body.size() && body[edit.keep()] == '}' && tail.back() == '}');
    require(tail.size() == edit.tail_size());
    out.resize(edit.keep());
    return out.append(tail);
}

// jansson does not take all that the scanner takes (NaN, NUL in names, bad UTF-8, numbers out of range):
// nullptr then.
json_t* parse(std::string_view text, size_t flags)
{
    return json_loadb(text.data(), text.size(), flags | JSON_ALLOW_NUL, nullptr);
}

void take_true(json_t* options, const char* name)
{
    require(json_is_true(json_object_get(options, name)));
    json_object_del(options, name);
}

// `before` and `after` are the same but for what was asked for.
void compare(json_t* before, json_t* after, const injected_usage& asked)
{
    json_t* was = json_object_get(before, "stream_options");
    json_t* is = json_object_get(after, "stream_options");
    require(json_is_object(is));
    if (!json_is_object(was)) {
        require(was == nullptr || json_is_null(was));
        json_object_set_new(before, "stream_options", json_object());
        was = json_object_get(before, "stream_options");
    }
    if (asked.final) {
        take_true(is, "include_usage");
        json_object_del(was, "include_usage");
    }
    if (asked.running) {
        take_true(is, "continuous_usage_stats");
        json_object_del(was, "continuous_usage_stats");
    }
    require(json_equal(before, after));
}

void check_edit(std::string_view body, const std::string& result, const injected_usage& asked)
{
    // Upstreams must come to the same again: nothing stands twice, and nothing is left to ask for.
    request_facts facts;
    facts.feed(result);
    require(facts.finish() == body_fault::none && facts.root_end() == result.size() - 1);
    const stream_options_member& options = facts.stream_options();
    require(!asked.final || options.include_usage == request_flag::yes);
    require(!asked.running || options.continuous_usage_stats == request_flag::yes);

    json_t* before = parse(body, JSON_REJECT_DUPLICATES);
    json_t* after = parse(result, JSON_REJECT_DUPLICATES);
    require((before == nullptr) == (after == nullptr));
    if (before != nullptr)
        compare(before, after, asked);
    json_decref(before);
    json_decref(after);
}

// Each range, which must begin and end as the text has it.
std::string told_members(std::string_view text, const body_members& members)
{
    std::string log = members.all_kept() ? "" : "+";
    uint64_t before = 1;
    for (const body_member& m : members.kept()) {
        require(before <= m.name.begin && m.name.begin + 2 <= m.name.end && m.name.end < m.value.begin
                && m.value.begin < m.value.end && m.value.end < text.size());
        require(text[m.name.begin] == '"' && text[m.name.end - 1] == '"');
        before = m.value.end;
        for (const uint64_t n : {m.name.begin, m.name.end, m.value.begin, m.value.end})
            log += ' ' + std::to_string(n);
    }
    return log;
}

// `members`: where those of the root are is kept as well.
std::string told(std::string_view text, uint32_t seed, bool members)
{
    request_facts facts;
    body_member room[3];
    if (members)
        facts.keep_members(room);
    in_pieces(text, seed, [&](std::string_view piece) {
        const bool goes_on = seed == whole_piece ? facts.feed_whole(piece) : facts.feed(piece);
        require(goes_on == (facts.fault() == body_fault::none));
    });
    const body_fault fault = facts.finish();
    require(facts.bytes() == text.size() && fault == facts.fault());
    require(facts.choices() != 0 && facts.prompts() != 0);
    if (fault != body_fault::none)
        return "fault " + std::to_string(int(fault));
    std::string log(facts.model());
    for (const uint64_t n : {uint64_t{facts.has_model()}, uint64_t{facts.may_stream()},
                             uint64_t{facts.surely_streams()}, uint64_t(facts.max_tokens().is),
                             facts.max_tokens().value, uint64_t{facts.choices()}, uint64_t{facts.prompts()},
                             facts.root_end(), uint64_t{facts.media().count()}, facts.media().bytes()})
        log += ' ' + std::to_string(n);
    require(facts.media().bytes() < text.size());
    for (const usage_inject mode : modes) {
        body_edit edit(facts.root_end());
        const injected_usage asked = inject_usage(facts, mode, edit);
        log += asked.final ? 'f' : '-';
        log += asked.running ? 'r' : '-';
        if (!asked.any())
            continue;
        const std::string result = edited(text, edit);
        require(result.size() == edit.size());
        if (seed == whole_piece)
            check_edit(text, result, asked);
        log += result;
    }
    if (members)
        log += told_members(text, facts.members());
    return log;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::string facts = told(text, whole_piece, false);
    for (const bool members : {false, true}) {
        const std::string whole = members ? told(text, whole_piece, true) : facts;
        require(whole.starts_with(facts));
        require(told(text, byte_pieces, members) == whole && told(text, piece_seed(text), members) == whole);
    }
    return 0;
}
