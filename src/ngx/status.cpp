// llm_status: what is in the zones, for operators and for tests.

#include "status.h"

#include "conf.h"
#include "content.h"

#include "ngx/ops/page.h"

#include <algorithm>
#include <iterator>

namespace llm {

namespace {

// Records are copied under the lock in small parts, so that no request waits for a large zone.
constexpr uint32_t part = 32;

void put_field(chain_writer& out, std::string_view name, uint64_t number)
{
    out.put_quoted(name);
    out.put(":");
    out.put(number);
}

void put_files(chain_writer& out, std::span<const file_entry> files)
{
    bool first = true;
    for (const file_entry& f : files) {
        out.put(first ? "{\"path\":" : ",{\"path\":");
        out.put_quoted(f.path);
        out.put(",");
        put_field(out, "keys", f.keys);
        out.put("}");
        first = false;
    }
}

struct subject_copy {
    char name[max_name];
    size_t name_len;
    uint32_t in_flight;
    uint32_t names; // of a key; else 0
    usage_totals totals;
};

void put_subject(chain_writer& out, const subject_copy& s)
{
    out.put("{\"name\":");
    out.put_quoted({s.name, s.name_len});
    const std::pair<std::string_view, uint64_t> fields[] = {
        {"in_flight", s.in_flight},
        {"requests", s.totals.requests},
        {"prompt_tokens", s.totals.prompt},
        {"cached_tokens", s.totals.cached},
        {"cache_write_tokens", s.totals.cache_write},
        {"completion_tokens", s.totals.completion},
        {"reasoning_tokens", s.totals.reasoning},
        {"total_tokens", s.totals.prompt + s.totals.completion},
    };
    for (auto& [name, number] : fields) {
        out.put(",");
        put_field(out, name, number);
    }
    if (s.names != 0) {
        out.put(",");
        put_field(out, "names", s.names);
    }
    out.put("}");
}

// Copies up to `part` subjects of this kind from number `at` on, which it moves.
size_t copy_subjects(const zone_conf& zone, subject_kind kind, uint32_t& at, subject_copy* to)
{
    zone_session session(zone);
    const subject_table& subjects = session->subjects();
    size_t n = 0;
    for (uint32_t looked = 0; looked < 8 * part && n < part && at < subjects.high_water(); looked++, at++) {
        const subject& s = subjects.at(at);
        if (s.kind == kind) {
            to[n].name_len = s.name().copy(to[n].name, sizeof to[n].name);
            to[n].in_flight = s.in_flight;
            to[n].names = kind == subject_kind::key ? s.names() : 0;
            to[n].totals = s.counts.totals;
            n++;
        }
    }
    return n;
}

void put_subjects(chain_writer& out, const zone_conf& zone, subject_kind kind)
{
    subject_copy copies[part];
    bool first = true;
    // The table may grow meanwhile: what is new is left out.
    for (uint32_t at = 0, end = zone.state->subjects().high_water(); at < end;) {
        size_t n = copy_subjects(zone, kind, at, copies);
        for (size_t i = 0; i < n; i++) {
            out.put(first ? "" : ",");
            put_subject(out, copies[i]);
            first = false;
        }
    }
}

struct lease_copy {
    char key[max_name], user[max_name], model[lease::max_model];
    size_t key_len, user_len, model_len;
    bool stream;
    uint32_t pid;
    int64_t started_ms;
    token_counts progress;
};

size_t copy_leases(const zone_conf& zone, uint32_t& at, lease_copy* to)
{
    zone_session session(zone);
    const lease_table& leases = session->leases();
    size_t n = 0;
    for (uint32_t looked = 0; looked < 8 * part && n < part && at < leases.high_water(); looked++, at++) {
        const lease& l = leases.at(at);
        if (!lease::is_counted(l.is)) {
            continue;
        }
        lease_copy& c = to[n++];
        c.key_len = session->subjects().at(l.key()).name().copy(c.key, sizeof c.key);
        c.user_len =
            l.user() == no_index ? 0 : session->subjects().at(l.user()).name().copy(c.user, sizeof c.user);
        c.model_len = l.model().copy(c.model, sizeof c.model);
        c.stream = l.stream;
        c.pid = session->owners()[l.owner].pid;
        c.started_ms = l.started_ms;
        c.progress = l.progress();
    }
    return n;
}

void put_lease(chain_writer& out, const lease_copy& c, int64_t now_ms)
{
    out.put("{\"key\":");
    out.put_quoted({c.key, c.key_len});
    out.put(",\"user\":");
    out.put_quoted({c.user, c.user_len});
    out.put(",\"model\":");
    out.put_quoted({c.model, c.model_len});
    out.put(c.stream ? ",\"stream\":true," : ",\"stream\":false,");
    put_field(out, "pid", c.pid);
    out.put(",");
    put_field(out, "age_ms", static_cast<uint64_t>(std::max<int64_t>(now_ms - c.started_ms, 0)));
    out.put(",");
    put_field(out, "prompt_tokens", c.progress.prompt);
    out.put(",");
    put_field(out, "completion_tokens", c.progress.completion);
    out.put("}");
}

void put_leases(chain_writer& out, const zone_conf& zone)
{
    ngx_time_t* time = ngx_timeofday();
    int64_t now_ms = int64_t{time->sec} * 1000 + static_cast<int64_t>(time->msec);
    lease_copy copies[part];
    bool first = true;
    for (uint32_t at = 0, end = zone.state->leases().high_water(); at < end;) {
        size_t n = copy_leases(zone, at, copies);
        for (size_t i = 0; i < n; i++) {
            out.put(first ? "" : ",");
            put_lease(out, copies[i], now_ms);
            first = false;
        }
    }
}

void put_zone(chain_writer& out, const zone_conf& zone, std::span<const file_entry> files)
{
    const shared_state& state = *zone.state;
    out.put("{\"name\":");
    out.put_quoted(view(zone.name));
    out.put(",");
    put_field(out, "size", zone.shm->shm.size);
    out.put(",\"bytes\":{");
    size_t free_bytes = 0;
    for (const area_bytes& part : parts_of(zone)) {
        free_bytes += part.free;
    }
    put_field(out, "used", zone.shm->shm.size - free_bytes);
    out.put(",");
    put_field(out, "free", free_bytes);
    out.put("},");
    put_field(out, "generation", state.generation());
    out.put(",\"files\":[");
    put_files(out, files);
    out.put("],\"leases\":{");
    put_field(out, "running", state.leases().running());
    out.put(",");
    put_field(out, "capacity", state.leases().capacity());
    out.put("},\"subjects\":{");
    put_field(out, "used", state.subjects().used());
    out.put(",");
    put_field(out, "capacity", state.subjects().capacity());
    out.put(",");
    put_field(out, "names", state.subjects().names());
    out.put(",");
    put_field(out, "max_names", state.subjects().name_room());
    out.put(",");
    put_field(out, "max_names_per_key", state.subjects().max_names());
    out.put("},\"keys\":[");
    put_subjects(out, zone, subject_kind::key);
    out.put("],\"users\":[");
    put_subjects(out, zone, subject_kind::user);
    out.put("],\"running\":[");
    put_leases(out, zone);
    out.put("]}");
}

} // namespace

ngx_int_t status_handler(ngx_http_request_t* r)
{
    ngx_int_t rc = begin_content(r);
    if (rc != NGX_OK) {
        return rc;
    }
    if (auto sent = offer_page(r, status_page)) {
        return *sent;
    }
    chain_writer out(r->pool);
    out.put("{\"version\":\"" LLM_VERSION "\",\"zones\":[");
    bool first = true;
    for (const zone_conf* zone : zones_of(*main_conf_of(r))) {
        const auto files = files_of(*zone, r->pool);
        if (!files) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        out.put(first ? "" : ",");
        put_zone(out, *zone, *files);
        first = false;
    }
    out.put("]}\n");
    return send_content(r, out, "application/json");
}

} // namespace llm
