#include "counters.h"

#include "schema.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

namespace llm {

// Bump state_format when this changes.
static_assert(subject_state::version == 1);

namespace {

constexpr std::string_view names[] = {
    "",           "key",         "user",         "model",           "address",
    "zone",       "failed_auth", "other_models", "other_addresses", "named_user",
    "other_users"};

// A name that an upstream has answered for is kept for so long, for what was learned of it.
constexpr int64_t minutes_of_proved = 24 * 60;

void append_number(std::string& to, uint64_t n)
{
    char digits[20];
    to.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

std::string debts_text(const subject_state& s)
{
    std::string text;
    for (rate_kind kind : {rate_of_requests, rate_of_tokens}) {
        for (const subject_state::debt& d : s.debts[kind]) {
            if (d.ns != 0) {
                text += text.empty() ? "" : " ";
                text += kind == rate_of_requests ? "r:" : "t:";
                append_number(text, static_cast<uint64_t>(d.label));
                text += ':';
                append_number(text, d.ns);
            }
        }
    }
    return text;
}

// The number at the beginning, which is taken off with one further character.
uint64_t take_number(std::string_view& from)
{
    uint64_t n = 0;
    const auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), n);
    if (error == std::errc::result_out_of_range) {
        n = UINT64_MAX;
    }
    from.remove_prefix(std::min<size_t>(static_cast<size_t>(end - from.data()) + 1, from.size()));
    return n;
}

void read_debts(std::string_view text, subject_state& s)
{
    size_t next[2] = {};
    while (text.size() > 2) {
        const rate_kind kind = text[0] == 'r' ? rate_of_requests : rate_of_tokens;
        text.remove_prefix(2);
        const auto label = static_cast<interval_label>(take_number(text));
        const uint64_t ns = take_number(text);
        // Those that further rates share are last.
        size_t& i = next[kind];
        if (label == interval_label::none) {
            s.debts[kind][subject_rates::own_states] = {ns, label};
        } else if (i < subject_rates::own_states) {
            s.debts[kind][i++] = {ns, label};
        }
    }
}

void append_figures(std::string& to, const learned_figures& f)
{
    for (uint64_t n : {uint64_t{f.completion}, uint64_t{f.prompt_ratio}, uint64_t{f.text_ratio},
                       uint64_t{f.prompt_weight}, uint64_t{f.text_weight}}) {
        to += to.empty() ? "" : " ";
        append_number(to, n);
    }
}

learned_figures take_figures(std::string_view& from)
{
    learned_figures f;
    f.completion = static_cast<uint32_t>(take_number(from));
    f.prompt_ratio = static_cast<uint16_t>(take_number(from));
    f.text_ratio = static_cast<uint16_t>(take_number(from));
    f.prompt_weight = static_cast<uint8_t>(take_number(from));
    f.text_weight = static_cast<uint8_t>(take_number(from));
    return f;
}

bool has_learned(const subject_state& s)
{
    return s.learned != learned_figures{} || s.learned_by_owner != learned_figures{};
}

// Addresses are no text.
bool is_text(subject_kind kind)
{
    return kind != subject_kind::address && kind != subject_kind::failed_auth;
}

uint64_t saturating_end(int64_t unix_ms, uint64_t ns)
{
    return add_up(multiply_up(static_cast<uint64_t>(std::max<int64_t>(unix_ms, 0)), 1000000), ns);
}

// When what was owed at `base` has flowed off.
uint64_t end_of_debt(const subject_state& base, rate_kind kind, interval_label label)
{
    uint64_t ns = 0;
    for (const subject_state::debt& d : base.debts[kind]) {
        if (d.ns != 0 && d.label == label) {
            ns = std::max(ns, d.ns);
        }
    }
    return saturating_end(base.unix_ms, ns);
}

} // namespace

std::string_view kind_name(subject_kind kind)
{
    return names[static_cast<size_t>(kind)];
}

subject_kind kind_of(std::string_view name)
{
    const auto* at = std::find(std::begin(names) + 1, std::end(names), name);
    return at == std::end(names) ? subject_kind::none : static_cast<subject_kind>(at - std::begin(names));
}

void bind_name(query& to, subject_kind kind, std::string_view name)
{
    if (is_text(kind)) {
        to.bind(name);
    } else {
        to.blob(name);
    }
}

void bind_state(query& to, const subject_state& s)
{
    to.bind(kind_name(s.kind));
    bind_name(to, s.kind, s.name());
    to.bind(s.owner());
    const usage_totals& t = s.totals;
    for (uint64_t n : {t.requests, t.prompt, t.cached, t.completion, t.reasoning, t.cache_write}) {
        to.count(n);
    }
    for (const subject_state::quota& q : s.quotas) {
        to.count(q.used).bind(static_cast<int64_t>(q.used != 0 ? q.hour : 0));
    }
    const std::string debts = debts_text(s);
    debts.empty() ? to.null() : to.bind(debts);
    if (has_learned(s)) {
        std::string learned;
        append_figures(learned, s.learned);
        append_figures(learned, s.learned_by_owner);
        to.bind(learned);
    } else {
        to.null();
    }
    to.bind(int64_t{s.proved}).bind(int64_t{s.blocked}).bind(s.unix_ms);
}

subject_state read_state(const query& from, int column)
{
    subject_state s{};
    s.kind = kind_of(from.text(column));
    const std::string_view name = from.text(column + 1);
    const std::string_view owner = from.text(column + 2);
    if (name.size() > max_name || owner.size() > max_name) {
        s.kind = subject_kind::none;
        return s;
    }
    s.name_len = static_cast<uint8_t>(name.copy(s.name_bytes, max_name));
    s.owner_len = static_cast<uint8_t>(owner.copy(s.owner_bytes, max_name));
    column += 3;
    usage_totals& t = s.totals;
    for (uint64_t* n : {&t.requests, &t.prompt, &t.cached, &t.completion, &t.reasoning, &t.cache_write}) {
        *n = from.number(column++);
    }
    for (subject_state::quota& q : s.quotas) {
        q.used = from.number(column++);
        q.hour = static_cast<uint32_t>(from.number(column++));
    }
    read_debts(from.text(column++), s);
    std::string_view learned = from.text(column++);
    s.learned = take_figures(learned);
    s.learned_by_owner = take_figures(learned);
    s.proved = from.integer(column) != 0;
    s.blocked = from.integer(column + 1) != 0;
    s.unix_ms = from.integer(column + 2);
    return s;
}

void put_counter(database& db, const subject_state& s)
{
    query q(db, "INSERT OR REPLACE INTO counters(" LLM_COUNTER_COLUMNS ", rest) VALUES(" LLM_COUNTER_VALUES
                ",?)");
    bind_state(q, s);
    const int64_t rest = rest_of(s);
    rest != 0 ? q.bind(rest) : q.null();
    q.run();
}

void put_base(database& db, int64_t zone, const subject_state& s)
{
    query q(db,
            "INSERT OR REPLACE INTO base(zone, " LLM_COUNTER_COLUMNS ") VALUES(?," LLM_COUNTER_VALUES ")");
    q.bind(zone);
    bind_state(q, s);
    q.run();
}

bool get_base(database& db, int64_t zone, const subject_state& of, subject_state& base)
{
    query q(db, "SELECT " LLM_COUNTER_COLUMNS " FROM base WHERE zone = ? AND kind = ? AND name = ?");
    q.bind(zone).bind(kind_name(of.kind));
    bind_name(q, of.kind, of.name());
    if (!q.row()) {
        return false;
    }
    base = read_state(q, 0);
    return true;
}

subject_state difference(const subject_state& now, const subject_state& base, int64_t since_ms)
{
    subject_state d = now;
    // Who blocks or unblocks since then does it in the other zone.
    d.blocked = now.blocked && !base.blocked;
    const usage_totals& b = base.totals;
    // A record that was made anew begins at 0.
    if (now.totals.requests >= b.requests && now.totals.prompt >= b.prompt
        && now.totals.completion >= b.completion && now.totals.cached >= b.cached
        && now.totals.reasoning >= b.reasoning && now.totals.cache_write >= b.cache_write) {
        d.totals.requests -= b.requests;
        d.totals.prompt -= b.prompt;
        d.totals.cached -= b.cached;
        d.totals.completion -= b.completion;
        d.totals.reasoning -= b.reasoning;
        d.totals.cache_write -= b.cache_write;
    }
    for (size_t i = 0; i < quota_windows; i++) {
        const auto w = static_cast<quota_window>(i + 1);
        const subject_state::quota& then = base.quotas[i];
        if (then.used != 0 && d.quotas[i].used >= then.used
            && quota_period(w, then.hour) == quota_period(w, d.quotas[i].hour)) {
            d.quotas[i].used -= then.used;
        }
    }
    for (rate_kind kind : {rate_of_requests, rate_of_tokens}) {
        for (subject_state::debt& debt : d.debts[kind]) {
            if (debt.ns != 0) {
                const uint64_t end = saturating_end(now.unix_ms, debt.ns);
                const uint64_t before =
                    std::max(end_of_debt(base, kind, debt.label), saturating_end(since_ms, 0));
                debt.ns = end > before ? end - before : 0;
            }
        }
    }
    return d;
}

bool is_nothing(const subject_state& s)
{
    const usage_totals& t = s.totals;
    bool any = (t.requests | t.prompt | t.cached | t.completion | t.reasoning | t.cache_write) != 0;
    for (const subject_state::quota& q : s.quotas) {
        any |= q.used != 0;
    }
    for (const auto& of_kind : s.debts) {
        for (const subject_state::debt& d : of_kind) {
            any |= d.ns != 0;
        }
    }
    return !any;
}

int64_t rest_of(const subject_state& s)
{
    if (!named_by_clients(s.kind)) {
        return 0;
    }
    uint64_t end_ms = static_cast<uint64_t>(std::max<int64_t>(s.unix_ms, 0));
    for (size_t i = 0; i < quota_windows; i++) {
        if (s.quotas[i].used != 0) {
            const auto w = static_cast<quota_window>(i + 1);
            if (w == quota_window::total) {
                return 0;
            }
            end_ms = std::max(end_ms, uint64_t{quota_end(w, s.quotas[i].hour)} * 3600000);
        }
    }
    for (const auto& of_kind : s.debts) {
        for (const subject_state::debt& d : of_kind) {
            end_ms = std::max(end_ms, saturating_end(s.unix_ms, d.ns) / 1000000);
        }
    }
    return static_cast<int64_t>(end_ms / 60000) + 2 + (s.proved && has_learned(s) ? minutes_of_proved : 0);
}

} // namespace llm
