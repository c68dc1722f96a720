#include "key_publication.h"

#include "clock.h"
#include "owner.h"
#include "process.h"

#include <unordered_map>
#include <unordered_set>

namespace llm {

namespace {

// What nginx's slab takes of a zone: its page table and rounding, well under a page for each two hundred.
size_t slab_overhead(const ngx_shm_zone_t& shm)
{
    return shm.shm.size / 128;
}

std::unordered_set<std::string_view> names_of(const key_table& table, subject_kind kind)
{
    std::unordered_set<std::string_view> names;
    for (const key_table::file_info& f : table.files()) {
        for (uint32_t i = 0; i < f.n_keys; i++) {
            names.insert(kind == subject_kind::key ? f.keys[i].name.view() : f.keys[i].user.view());
        }
    }
    return names;
}

using tell_followup = std::function<void(const key_followup&)>;

// Counters of keys and users that are gone are kept, in case they come back, as long as there is plenty of
// room. Returns how many subjects keys and users need with them, or a little more where it does not matter.
size_t plan_drops(const shared_state& state, const key_table& next, size_t needed, const tell_followup& tell)
{
    const subject_table& subjects = state.subjects();
    const size_t half = subjects.capacity() / 2;
    const size_t at_most = needed + subjects.used();
    if (at_most <= half) {
        return at_most;
    }
    const bool drops = subjects.used() > half;
    const auto keys = names_of(next, subject_kind::key);
    const auto users = names_of(next, subject_kind::user);
    for (uint32_t i = 0, end = subjects.high_water(); i < end; i++) {
        if (!subjects.valid(i)) {
            continue;
        }
        // Seen without the lock, which is taken only for those that go: by then the number may be another's.
        const subject& s = subjects.at(i);
        const subject_kind kind = s.kind;
        char name_bytes[max_name];
        const std::string_view name(name_bytes, s.name().copy(name_bytes, sizeof name_bytes));
        const auto& names = kind == subject_kind::key ? keys : users;
        if ((kind != subject_kind::key && kind != subject_kind::user) || names.contains(name)) {
            continue;
        }
        if (drops) {
            tell({.what = key_followup::kind::drop_subject, .index = i, .whose = kind, .name = name});
        } else {
            needed++;
        }
    }
    return needed;
}

// Models that keys name have counts of their own from the beginning. Patterns name none.
void plan_models(const key_table& next, const tell_followup& tell)
{
    std::unordered_set<const shared_policy*> seen;
    for (const key_table::file_info& f : next.files()) {
        for (uint32_t i = 0; i < f.n_keys; i++) {
            const shared_policy* policy = f.keys[i].policy;
            if (policy->n_models == 0 || !seen.insert(policy).second) {
                continue;
            }
            for (const shared_text& model : std::span(policy->models, policy->n_models)) {
                if (model.view().find('*') == std::string_view::npos) {
                    tell({.what = key_followup::kind::name_model, .name = model.view()});
                }
            }
        }
    }
}

// What is counted for keys that are gone may make room for others.
void plan_marks(const shared_state& state, const key_table& next, const tell_followup& tell)
{
    const auto& clients = state.counted().clients();
    const auto names_of = [](std::string_view key, std::string_view user) {
        return std::string(key).append(1, '\0').append(user);
    };
    struct seen {
        uint32_t index;
        uint64_t serial;
        bool gone;
    };
    // Keys whose applications name their users: of those, all users stay that were named.
    std::unordered_set<std::string_view> naming;
    for (const key_table::file_info& f : next.files()) {
        for (uint32_t i = 0; i < f.n_keys; i++) {
            if (f.keys[i].policy->user_from.size != 0) {
                naming.insert(f.keys[i].name.view());
            }
        }
    }
    std::unordered_map<std::string, seen> in_book;
    for (uint32_t i = book::none + 1; i < clients.high_water(); i++) {
        if (clients.is_made(i)) {
            const book_client& c = clients.at(i);
            const bool stays = (c.named || c.user() == book::other_name) && naming.contains(c.key());
            in_book[names_of(c.key(), c.user())] = {i, c.serial, !stays};
        }
    }
    if (in_book.empty()) {
        return;
    }
    for (const key_table::file_info& f : next.files()) {
        for (uint32_t i = 0; i < f.n_keys; i++) {
            const auto found = in_book.find(names_of(f.keys[i].name.view(), f.keys[i].user.view()));
            if (found != in_book.end()) {
                found->second.gone = false;
            }
        }
    }
    for (const auto& [names, client] : in_book) {
        if (clients.at(client.index).gone != client.gone) {
            tell({.what = key_followup::kind::mark_client,
                  .index = client.index,
                  .serial = client.serial,
                  .gone = client.gone});
        }
    }
}

} // namespace

std::optional<std::string> lack_of_room(const zone_conf& zone, std::span<const key_file* const> files,
                                        size_t& subjects)
{
    std::unordered_set<std::string_view> keys, users;
    for (const key_file* file : files) {
        for (const key_record& k : file->keys) {
            keys.insert(k.name);
            if (!k.user.empty()) {
                users.insert(k.user);
            }
        }
    }
    subjects = keys.size() + users.size();
    const size_t table_bytes = key_table::bytes(files);
    if (table_bytes <= zone.state->key_area_bytes() && subjects <= zone.state->subjects().capacity()) {
        return std::nullopt;
    }
    const size_t needed = shared_state::bytes_for(table_bytes, subjects) + slab_overhead(*zone.shm);
    return "llm_zone \"" + std::string(view(zone.name)) + "\" of " + std::to_string(zone.shm->shm.size >> 10)
           + "k is too small for " + std::to_string(keys.size()) + " keys and " + std::to_string(users.size())
           + " users: make it at least " + std::to_string((needed >> 20) + 1) + "m";
}

publisher::ticket try_begin_staging(zone_conf& zone)
{
    return zone.state->begin_staging(this_process(), zone_locker{zone}, [](const lease_owner& holder) {
        return is_gone(holder.pid, holder.started);
    });
}

size_t plan_followups(const shared_state& state, const key_table& next, size_t needed_by_keys,
                      const tell_followup& tell)
{
    plan_models(next, tell);
    plan_marks(state, next, tell);
    return plan_drops(state, next, needed_by_keys, tell);
}

bool follow_up(const zone_conf& zone, const key_followup& step)
{
    zone_session session(zone);
    switch (step.what) {
    case key_followup::kind::name_model:
        session->name_model(step.name, {0, wall_clock_ms()});
        return true;
    case key_followup::kind::mark_client:
        session->set_gone(step.index, step.serial, step.gone);
        return true;
    case key_followup::kind::drop_subject:
        return session->drop_subject(step.index, step.whose, step.name);
    }
    return true;
}

void finish_publication(zone_conf& zone, publisher::ticket ticket, size_t needed_subjects)
{
    zone_session session(zone);
    session->set_needed(needed_subjects);
    session->end_staging(ticket);
}

} // namespace llm
