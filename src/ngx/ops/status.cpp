// llm_status: what is in the zones, for operators and for tests.

#include "status.h"

#include "json_writer.h"
#include "limits_json.h"
#include "page.h"
#include "status_book.h"
#include "status_keys.h"
#include "status_query.h"
#include "status_running.h"

#include "ngx/clock.h"
#include "ngx/conf.h"
#include "ngx/content.h"

#include <algorithm>
#include <iterator>

namespace llm {

namespace {

// Records are copied under the lock in small parts, so that no request waits for a large zone.
constexpr uint32_t part = 32;

struct subject_copy {
    char name[max_name];
    size_t name_len;
    uint32_t in_flight;
    uint32_t names;         // of a key; else 0
    uint32_t blocked_since; // likewise
    usage_totals totals;
};

void put_subject(json_writer& out, const subject_copy& s)
{
    out.begin_object();
    out.field("name", std::string_view(s.name, s.name_len));
    out.field("in_flight", s.in_flight);
    out.field("requests", s.totals.requests);
    put_tokens(out, s.totals.tokens());
    if (s.names != 0) {
        out.field("names", s.names);
    }
    if (s.blocked_since != 0) {
        out.flag("blocked", true);
        put_time(out, "blocked_since", s.blocked_since);
    }
    out.end_object();
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
            to[n].blocked_since = kind == subject_kind::key ? s.blocked_since() : 0;
            to[n].totals = s.counts.totals;
            n++;
        }
    }
    return n;
}

void put_subjects(json_writer& out, const zone_conf& zone, subject_kind kind)
{
    subject_copy copies[part];
    out.begin_array();
    // The table may grow meanwhile: what is new is left out.
    for (uint32_t at = 0, end = zone.state->subjects().high_water(); at < end;) {
        const size_t n = copy_subjects(zone, kind, at, copies);
        for (const subject_copy& s : std::span(copies, n)) {
            put_subject(out, s);
        }
    }
    out.end_array();
}

void put_bytes(json_writer& out, const zone_conf& zone)
{
    const auto parts = parts_of(zone);
    const size_t size = zone.shm->shm.size;
    size_t free_bytes = 0;
    for (const area_bytes& area : parts) {
        free_bytes += area.free;
    }
    out.field("size", size);
    out.name("bytes");
    out.begin_object();
    out.field("used", size - free_bytes);
    out.field("free", free_bytes);
    out.end_object();
    out.name("parts");
    out.begin_array();
    for (const area_bytes& area : parts) {
        out.begin_object();
        out.field("name", area.name);
        out.field("used", area.used);
        if (area.fills) {
            out.field("free", area.free);
        }
        out.end_object();
    }
    out.end_array();
}

// Why a file's present text is not the one in force.
void put_fault(json_writer& out, const file_fault& fault)
{
    if (!fault.is_one()) {
        return;
    }
    out.name("error");
    out.begin_object();
    out.field("text", fault.text());
    if (fault.line != 0) {
        out.field("line", fault.line);
        out.field("column", fault.column);
    }
    out.end_object();
}

// How full the tables are, and what they are filled from.
void put_tables(json_writer& out, const zone_conf& zone, std::span<const file_entry> files)
{
    const shared_state& state = *zone.state;
    out.field("generation", state.generation());
    out.name("files");
    out.begin_array();
    for (const file_entry& f : files) {
        out.begin_object();
        out.field("path", f.path);
        out.field("keys", f.keys);
        out.field("loaded_ms", static_cast<uint64_t>(f.read_ms));
        put_fault(out, f.fault);
        out.end_object();
    }
    out.end_array();
    out.name("leases");
    out.begin_object();
    out.field("running", state.leases().running());
    out.field("capacity", state.leases().capacity());
    out.end_object();
    out.name("subjects");
    out.begin_object();
    out.field("used", state.subjects().used());
    out.field("capacity", state.subjects().capacity());
    out.field("names", state.subjects().names());
    out.field("max_names", state.subjects().name_room());
    out.field("max_names_per_key", state.subjects().max_names());
    out.end_object();
}

// False if there is no memory.
bool put_zone(json_writer& out, ngx_http_request_t* r, const zone_conf& zone, const status_query& query)
{
    out.begin_object();
    out.field("name", view(zone.name));
    if (query.view == status_query::parts::keys) {
        const bool done = put_keys(out, *main_conf_of(r), zone, query, r->pool);
        out.end_object();
        return done;
    }
    const auto files = files_of(zone, r->pool);
    if (!files) {
        return false;
    }
    put_bytes(out, zone);
    put_tables(out, zone, *files);
    if (!put_book(out, zone, r->pool)) {
        return false;
    }
    if (query.view == status_query::parts::all) {
        out.name("keys");
        put_subjects(out, zone, subject_kind::key);
        out.name("users");
        put_subjects(out, zone, subject_kind::user);
    }
    out.name("running");
    put_running(out, zone);
    out.end_object();
    return true;
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
    status_query query;
    if (!read_query(r, query)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    chain_writer text(r->pool);
    json_writer out(text);
    out.begin_object();
    out.field("version", LLM_VERSION);
    out.field("now_ms", static_cast<uint64_t>(wall_clock_ms()));
    out.name("zones");
    out.begin_array();
    for (const zone_conf* zone : zones_of(*main_conf_of(r))) {
        if (!put_zone(out, r, *zone, query)) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    out.end_array();
    out.end_object();
    text.put("\n");
    return send_content(r, text, "application/json");
}

} // namespace llm
