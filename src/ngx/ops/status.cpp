// llm_status: what is in the zones, for operators and for tests.

#include "status.h"

#include "json_writer.h"
#include "limits_json.h"
#include "page.h"
#include "sliced_reply.h"
#include "status_book.h"
#include "status_keys.h"
#include "status_query.h"
#include "status_running.h"

#include "ngx/clock.h"
#include "ngx/conf.h"
#include "ngx/content.h"
#include "state/state_result.h"

#include <algorithm>
#include <new>
#include <span>

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
size_t copy_subjects(const zone_conf& zone, subject_kind kind, uint32_t& at, uint32_t end, subject_copy* to)
{
    zone_session session(zone);
    const subject_table& subjects = session->subjects();
    size_t n = 0;
    for (uint32_t looked = 0; looked < 8 * part && n < part && at < end; looked++, at++) {
        const subject& s = subjects.at(at);
        if (s.kind == kind || (kind == subject_kind::user && s.kind == subject_kind::named_user)) {
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

// The subjects of one kind, an array.
class subject_list {
public:
    progress put_slice(json_writer& out, const zone_conf& zone, subject_kind kind)
    {
        if (!begun_) {
            begun_ = true;
            end_ = zone.state->subjects().high_water();
            out.begin_array();
        }
        subject_copy copies[part];
        const size_t n = copy_subjects(zone, kind, next_, end_, copies);
        for (const subject_copy& s : std::span(copies, n)) {
            put_subject(out, s);
        }
        if (next_ < end_) {
            return progress::more;
        }
        out.end_array();
        return progress::done;
    }

private:
    bool begun_ = false;
    uint32_t next_ = 0;
    uint32_t end_ = 0; // the table may grow meanwhile: what is new is left out
};

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
    if (zone.state_path.len != 0) {
        const auto fault = static_cast<state_fault>(state.disk_fault());
        out.name("state");
        out.begin_object();
        out.field("file", view(zone.state_path));
        out.field("written_ms", static_cast<uint64_t>(state.disk_ms()));
        if (fault != state_fault::none) {
            out.field("error", state_fault_name(fault));
        }
        out.end_object();
    }
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

// All of it, a slice at a time. Lives in the request's pool: nothing in it has to be destroyed.
class status_report {
public:
    status_report(ngx_http_request_t* r, const status_query& query, chain_writer& text)
        : r_(r), query_(query), text_(text), out_(text), zones_(zones_of(*main_conf_of(r)))
    {
    }

    progress put_slice();

private:
    enum class step : uint8_t { begin, zone, listed, book, keys, users, running, end_zone, end };

    const zone_conf& zone() const { return *zones_[zone_]; }
    bool begin_zone();
    step after(step s) const;
    progress put_part();

    ngx_http_request_t* r_;
    status_query query_;
    chain_writer& text_;
    json_writer out_;
    std::span<zone_conf*> zones_;
    size_t zone_ = 0;
    step at_ = step::begin;
    key_list* listed_ = nullptr;
    book_report book_{};
    subject_list keys_;
    subject_list users_;
    running_list running_{};
};

progress status_report::put_slice()
{
    switch (at_) {
    case step::begin:
        out_.begin_object();
        out_.field("version", LLM_VERSION);
        out_.field("now_ms", static_cast<uint64_t>(wall_clock_ms()));
        out_.name("zones");
        out_.begin_array();
        at_ = step::zone;
        return progress::more;
    case step::zone:
        if (zone_ == zones_.size()) {
            at_ = step::end;
            return progress::more;
        }
        if (!begin_zone()) {
            return progress::failed;
        }
        at_ = listed_ ? step::listed : step::book;
        return progress::more;
    case step::end_zone:
        out_.end_object();
        zone_++;
        at_ = step::zone;
        return progress::more;
    case step::end:
        out_.end_array();
        out_.end_object();
        text_.put("\n");
        return progress::done;
    default: {
        const progress is = put_part();
        if (is != progress::done) {
            return is;
        }
        at_ = after(at_);
        if (at_ == step::keys || at_ == step::users || at_ == step::running) {
            out_.name(at_ == step::keys ? "keys" : at_ == step::users ? "users" : "running");
        }
        return progress::more;
    }
    }
}

// False if there is no memory.
bool status_report::begin_zone()
{
    out_.begin_object();
    out_.field("name", view(zone().name));
    if (query_.view == status_query::parts::keys) {
        void* memory = ngx_palloc(r_->pool, sizeof(key_list));
        listed_ = memory ? new (memory) key_list(*main_conf_of(r_), zone(), query_, r_->pool) : nullptr;
        return listed_ != nullptr;
    }
    const auto files = files_of(zone(), r_->pool);
    if (!files) {
        return false;
    }
    book_ = {};
    keys_ = users_ = {};
    running_ = {};
    put_bytes(out_, zone());
    put_tables(out_, zone(), *files);
    return true;
}

// A slice of the part that is written.
progress status_report::put_part()
{
    switch (at_) {
    case step::listed:
        return listed_->put_slice(out_);
    case step::book:
        return book_.put_slice(out_, zone(), r_->pool);
    case step::keys:
        return keys_.put_slice(out_, zone(), subject_kind::key);
    case step::users:
        return users_.put_slice(out_, zone(), subject_kind::user);
    default:
        return running_.put_slice(out_, zone());
    }
}

status_report::step status_report::after(step s) const
{
    switch (s) {
    case step::book:
        return query_.view == status_query::parts::all ? step::keys : step::running;
    case step::keys:
        return step::users;
    case step::users:
        return step::running;
    default:
        return step::end_zone;
    }
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
    sliced_reply* reply = sliced_reply::make(r);
    void* memory = ngx_palloc(r->pool, sizeof(status_report));
    if (!reply || !memory || !read_query(r, query)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    auto* report = new (memory) status_report(r, query, reply->out());
    return reply->send("application/json", report,
                       [](void* source) { return static_cast<status_report*>(source)->put_slice(); });
}

} // namespace llm
