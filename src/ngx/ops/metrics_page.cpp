#include "metrics_page.h"

#include "ngx/clock.h"
#include "ngx/own_time.h"

#include <algorithm>

namespace llm {

struct metrics_page::metric {
    enum : uint8_t { gauge, counter, histogram } type;
    std::string_view name;
    std::string_view unit; // the end of the name
    std::string_view help;
    bool (*put)(metrics_page& page); // nullptr: of no zone
    bool names_zones = false;        // by labels of its own
};

// In the order in which they stand.
const metrics_page::metric metrics_page::all[] = {
    {metric::gauge, "llm_build_info", "", "The version of nginx-llm.", nullptr},
    {metric::counter, "llm_requests", "", "Requests that have ended, by how.",
     [](metrics_page& p) { return p.put_series(&metrics_page::put_requests); }},
    {metric::counter, "llm_refusals", "", "Requests that the gateway has refused, by why.",
     [](metrics_page& p) { return p.put_refusals(); }},
    {metric::counter, "llm_tokens", "tokens",
     "Tokens of requests that have ended. Those of type cached and cache_write are also of type prompt, "
     "those "
     "of type reasoning also of type completion.",
     [](metrics_page& p) { return p.put_series(&metrics_page::put_tokens); }},
    {metric::counter, "llm_cost", "", "Tokens as limits count them, weighted by llm_usage_weights.",
     [](metrics_page& p) { return p.put_series(&metrics_page::put_cost); }},
    {metric::counter, "llm_usage_source", "",
     "Requests that were let in, by where their tokens are known from.",
     [](metrics_page& p) { return p.put_sources(); }},
    {metric::gauge, "llm_requests_in_flight", "", "Requests that were let in and have not ended.",
     [](metrics_page& p) { return p.put_in_flight(); }},
    {metric::gauge, "llm_limit_remaining", "",
     "What a key that was used has left of its limits: its own, and those that llm_limit has for each key.",
     [](metrics_page& p) { return p.put_limits(false); }},
    {metric::gauge, "llm_limit_maximum", "", "What these limits let a key have at once.",
     [](metrics_page& p) { return p.put_limits(true); }},
    {metric::histogram, "llm_request_duration_seconds", "seconds",
     "How long requests took that were let in, from their first byte to the end of the reply.",
     [](metrics_page& p) { return p.put_models(&metrics_page::put_duration); }},
    {metric::histogram, "llm_time_to_first_token_seconds", "seconds",
     "Time from the first byte of a request to the first content of its stream.",
     [](metrics_page& p) { return p.put_models(&metrics_page::put_first_token); }},
    {metric::histogram, "llm_time_per_output_token_seconds", "seconds",
     "Time from the first content of a stream to its end, for each token of its completion after the first.",
     [](metrics_page& p) { return p.put_models(&metrics_page::put_token); }},
    {metric::histogram, "llm_gateway_seconds", "seconds",
     "Time that this module took for a request, measured with one request in 16.",
     [](metrics_page& p) { return p.put_own_time(); }},
    {metric::gauge, "llm_keys", "", "Keys in force, by key file.",
     [](metrics_page& p) { return p.put_files([](const file_entry& f) -> uint64_t { return f.keys; }); },
     true},
    {metric::gauge, "llm_key_file_ok", "",
     "Whether the keys in force are those of the key file as it is now: 0 if it cannot be read or is wrong.",
     [](metrics_page& p) {
         return p.put_files([](const file_entry& f) -> uint64_t { return f.fault.is_one() ? 0 : 1; });
     },
     true},
    {metric::gauge, "llm_key_file_loaded_timestamp_seconds", "seconds",
     "When the keys in force were read from the key file, in seconds since 1970.",
     [](metrics_page& p) {
         return p.put_files([](const file_entry& f) { return static_cast<uint64_t>(f.read_ms / 1000); });
     },
     true},
    {metric::gauge, "llm_state_ok", "",
     "Whether the state of a zone is written to disk: 0 if it cannot be, and the error log says why.",
     [](metrics_page& p) {
         return p.put_state([](const shared_state& s) { return uint64_t{s.disk_fault() == 0}; });
     },
     true},
    {metric::gauge, "llm_state_written_timestamp_seconds", "seconds",
     "When the state of a zone was written or, where llm_state_ok is 0, since when it is not, in seconds "
     "since 1970.",
     [](metrics_page& p) {
         return p.put_state([](const shared_state& s) { return static_cast<uint64_t>(s.disk_ms() / 1000); });
     },
     true},
    {metric::gauge, "llm_zone_bytes", "bytes",
     "Bytes of a zone, by what they are for and whether they are in use.",
     [](metrics_page& p) { return p.put_bytes(); }, true},
};
static_assert(own_time_sample == 16, "as the help says");

namespace {

// A model that has none of these times has no series of them.
bool is_empty(std::span<const uint64_t> counts)
{
    return std::all_of(counts.begin(), counts.end(), [](uint64_t n) { return n == 0; });
}

} // namespace

metrics_page::metrics_page(ngx_http_request_t* r, chain_writer& out, metric_format format)
    : pool_(r->pool), text_(out, format), zones_(zones_of(*main_conf_of(r)))
{
    const auto rules = key_rules_of(*main_conf_of(r), pool_);
    failed_ = !rules;
    rules_ = rules.value_or(std::span<const limit_rule>());
}

bool metrics_page::begin_zone()
{
    in_zone_ = true;
    cursor_ = {};
    next_ = 0;
    file_ = 0;
    flights_ = {};
    counted_ = false;
    subjects_seen_ = nullptr;
    with_lock(zone(), [&] { generation_ = zone().state->generation(); });
    text_.set_common(has_many_zones() && !all[metric_].names_zones ? metric_label{"zone", view(zone().name)}
                                                                   : metric_label{});
    return true;
}

bool metrics_page::put_slice()
{
    if (failed_) {
        return false;
    }
    if (metric_ == std::size(all)) {
        text_.end();
        return false;
    }
    const metric& m = all[metric_];
    if (!begun_) {
        begun_ = true;
        switch (m.type) {
        case metric::gauge:
            text_.begin_gauge(m.name, m.help, m.unit);
            break;
        case metric::counter:
            text_.begin_counter(m.name, m.help, m.unit);
            break;
        case metric::histogram:
            text_.begin_histogram(m.name, m.help, m.unit);
            break;
        }
    }
    if (!m.put) {
        text_.set_common({});
        text_.sample({{"version", LLM_VERSION}}, 1);
        zone_ = zones_.size();
    }
    if (zone_ == zones_.size()) {
        metric_++;
        begun_ = false;
        zone_ = 0;
        return true;
    }
    if (!in_zone_) {
        begin_zone();
    }
    if (m.put(*this)) {
        in_zone_ = false;
        zone_++;
    }
    return true;
}

bool metrics_page::put_series(void (metrics_page::*put)(const series_copy&))
{
    const size_t n = copy_series(zone().state->counted(), cursor_, 0, series_, zone_locker{zone()});
    for (const series_copy& s : std::span(series_).first(n)) {
        (this->*put)(s);
    }
    return n == 0;
}

void metrics_page::put_requests(const series_copy& s)
{
    for (size_t i = 0; i < outcomes; i++) {
        const auto is = static_cast<outcome>(i + 1);
        if (s.counts.requests[i] != 0 || is == outcome::ok) {
            text_.counter(
                {{"key", s.key()}, {"user", s.user()}, {"model", s.model()}, {"outcome", outcome_name(is)}},
                s.counts.requests[i], s.made_ms);
        }
    }
}

void metrics_page::put_tokens(const series_copy& s)
{
    const token_counts& t = s.counts.tokens;
    const struct {
        std::string_view type;
        uint64_t tokens;
        bool always;
    } types[] = {{"prompt", t.prompt, true},
                 {"cached", t.cached, false},
                 {"cache_write", t.cache_write, false},
                 {"completion", t.completion, true},
                 {"reasoning", t.reasoning, false}};
    for (const auto& of : types) {
        if (of.tokens != 0 || of.always) {
            text_.counter({{"key", s.key()}, {"user", s.user()}, {"model", s.model()}, {"type", of.type}},
                          of.tokens, s.made_ms);
        }
    }
}

void metrics_page::put_cost(const series_copy& s)
{
    text_.counter({{"key", s.key()}, {"user", s.user()}, {"model", s.model()}}, s.counts.cost, s.made_ms);
}

bool metrics_page::put_refusals()
{
    const size_t n = copy_clients(zone().state->counted(), cursor_, clients_, zone_locker{zone()});
    for (const client_copy& c : std::span(clients_).first(n)) {
        for (size_t i = 0; i < refusal_reasons; i++) {
            if (c.refusals[i] != 0) {
                text_.counter({{"key", c.key()}, {"user", c.user()}, {"reason", reason_name(i)}},
                              c.refusals[i], c.made_ms);
            }
        }
    }
    return n == 0;
}

bool metrics_page::put_sources()
{
    decltype(book_head::sources) sources;
    int64_t made_ms = 0;
    with_lock(zone(), [&] {
        const book_head& head = zone().state->counted().head();
        sources = head.sources;
        made_ms = head.made_ms;
    });
    for (size_t i = 0; i < usage_sources; i++) {
        text_.counter({{"source", usage_source_name(static_cast<usage_source>(i))}}, sources[i], made_ms);
    }
    return true;
}

bool metrics_page::put_in_flight()
{
    if (!counted_) {
        const progress counted = flights_.count(zone(), pool_);
        counted_ = counted == progress::done;
        failed_ = failed_ || counted == progress::failed;
        return false;
    }
    const auto all = flights_.groups();
    const auto slice = all.subspan(next_, std::min(all.size() - next_, max_flights));
    bool known = false;
    with_lock(zone(), [&] {
        const shared_state& state = *zone().state;
        known = state.generation() == generation_;
        for (size_t i = 0; i < slice.size(); i++) {
            const flight_group& g = slice[i];
            flight_copy& c = flight_names_[i];
            c.key_len = state.subjects().at(g.key).name().copy(c.key, max_name);
            c.user_len = g.user == no_index ? 0
                         : g.user == flight_group::other_users
                             ? book::other_name.copy(c.user, max_name)
                             : state.subjects().at(g.user).name().copy(c.user, max_name);
            c.model_len = state.counted().models().at(g.model).name().copy(c.model, lease::max_model);
        }
    });
    // A reload may have dropped keys, and other keys may have their numbers by now.
    if (!known) {
        return true;
    }
    for (size_t i = 0; i < slice.size(); i++) {
        const flight_copy& c = flight_names_[i];
        text_.sample(
            {{"key", {c.key, c.key_len}}, {"user", {c.user, c.user_len}}, {"model", {c.model, c.model_len}}},
            slice[i].requests);
    }
    next_ += slice.size();
    return next_ == all.size();
}

bool metrics_page::put_models(void (metrics_page::*put)(const model_copy&))
{
    const size_t n = copy_models(zone().state->counted(), cursor_, models_, zone_locker{zone()});
    for (const model_copy& m : std::span(models_).first(n)) {
        (this->*put)(m);
    }
    return n == 0;
}

void metrics_page::put_duration(const model_copy& m)
{
    if (is_empty(m.duration.counts)) {
        return;
    }
    text_.histogram({{"model", m.name()}}, duration_bounds.units, duration_bounds.bounds, m.duration.counts,
                    m.duration.sum, m.made_ms);
}

void metrics_page::put_first_token(const model_copy& m)
{
    if (is_empty(m.first_token.counts)) {
        return;
    }
    text_.histogram({{"model", m.name()}}, first_token_bounds.units, first_token_bounds.bounds,
                    m.first_token.counts, m.first_token.sum, m.made_ms);
}

void metrics_page::put_token(const model_copy& m)
{
    if (is_empty(m.token.counts)) {
        return;
    }
    text_.histogram({{"model", m.name()}}, token_bounds.units, token_bounds.bounds, m.token.counts,
                    m.token.sum, m.made_ms);
}

bool metrics_page::put_own_time()
{
    histogram<gateway_bounds> times;
    int64_t made_ms = 0;
    with_lock(zone(), [&] {
        times = zone().state->counted().head().gateway;
        made_ms = zone().state->counted().head().made_ms;
    });
    text_.histogram({}, gateway_bounds.units, gateway_bounds.bounds, times.counts, times.sum, made_ms);
    return true;
}

// Where a reload puts other keys in force on the way, what is left is not in this answer.
bool metrics_page::put_limits(bool maximum)
{
    size_t n = 0;
    bool ends = false;
    if (!subjects_seen_) {
        subjects_seen_ =
            static_cast<uint8_t*>(ngx_pcalloc(pool_, zone().state->subjects().capacity() / 8 + 1));
        if (!subjects_seen_) {
            failed_ = true;
            return true;
        }
    }
    const moment now = now_of_both_clocks();
    with_lock(zone(), [&] {
        const shared_state& state = *zone().state;
        const auto files = state.keys()->files();
        ends = state.generation() != generation_ || file_ >= files.size();
        for (size_t looks = 0; !ends && looks < 4 * max_keys && n < max_keys; looks++) {
            const key_table::file_info& f = files[file_];
            if (next_ == f.n_keys) {
                next_ = 0;
                ends = ++file_ == files.size();
                continue;
            }
            const shared_key& key = f.keys[next_++];
            const uint32_t number = key.key_subject != no_index
                                        ? key.key_subject
                                        : state.subjects().find(subject_kind::key, key.name.view());
            // Who was never used has all that is left.
            if (number == no_index || (subjects_seen_[number / 8] >> number % 8 & 1)) {
                continue;
            }
            subjects_seen_[number / 8] |= static_cast<uint8_t>(1u << number % 8);
            key_copy& c = keys_[n];
            c.n = limit_states(*key.policy, &state.subjects().at(number), rules_, now, c.states);
            c.name_len = key.name.view().copy(c.name, max_name);
            n += c.n != 0;
        }
    });
    for (const key_copy& c : std::span(keys_).first(n)) {
        for (const limit_state& s : std::span(c.states).first(c.n)) {
            text_.sample(
                {{"key", {c.name, c.name_len}}, {"limit", limit_name_of(s.kind)}, {"period", s.period}},
                maximum ? s.maximum : s.remaining);
        }
    }
    return ends;
}

bool metrics_page::put_files(uint64_t (*value)(const file_entry&))
{
    const auto files = files_of(zone(), pool_);
    if (!files) {
        failed_ = true;
        return true;
    }
    for (const file_entry& f : *files) {
        text_.sample({{"zone", view(zone().name)}, {"file", f.path}}, value(f));
    }
    return true;
}

// Of zones that are kept on disk.
bool metrics_page::put_state(uint64_t (*value)(const shared_state&))
{
    if (zone().state_path.len != 0 && zone().state->disk_ms() != 0) {
        text_.sample({{"zone", view(zone().name)}}, value(*zone().state));
    }
    return true;
}

// All bytes of a zone, each in one series.
bool metrics_page::put_bytes()
{
    const auto put = [&](std::string_view part, std::string_view state, size_t n) {
        text_.sample({{"zone", view(zone().name)}, {"part", part}, {"state", state}}, n);
    };
    for (const area_bytes& part : parts_of(zone())) {
        put(part.name, "used", part.used);
        if (part.fills) {
            put(part.name, "free", part.free);
        }
    }
    return true;
}

} // namespace llm
