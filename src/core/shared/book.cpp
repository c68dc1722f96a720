#include "book.h"

#include "core/base/bytes.h"
#include "core/base/utf8.h"
#include "core/limit/quota.h"

namespace llm {

namespace {

bool same(std::string_view a, std::string_view b)
{
    return a.size() == b.size() && same_bytes(a.data(), b.data(), a.size());
}

uint32_t hash_of_series(uint32_t client, uint32_t model)
{
    uint64_t mixed = (uint64_t{client} << 32 | model) * 0x9e3779b97f4a7c15u;
    return static_cast<uint32_t>(mixed >> 32);
}

bool is_client(const book_client& c, const book_names& names)
{
    return same(c.key(), names.key) && same(c.user(), names.user);
}

void name_rest(book_names& names, uint32_t key_hash, const subject_table& subjects)
{
    names.rest_hash = book::hash_of_client(key_hash, subjects.hash_of(subject_kind::user, book::other_name));
}

} // namespace

void book::begin(int64_t now_ms)
{
    head_->made_ms = now_ms;
    mark_ = 1;
    folds_ = 0;
    gone_ = 0;
    named_ = 0;
    series_hand_ = client_hand_ = 0;
    for (std::string_view name : {other_name, std::string_view()}) {
        clients_.make(0, now_ms, [&](book_client& c) {
            c.key_len = static_cast<uint8_t>(name.copy(c.key_bytes, max_name));
            c.user_len = static_cast<uint8_t>(name.copy(c.user_bytes, max_name));
        });
        models_.make(0, now_ms, [&](book_model& m) {
            m.name_len = static_cast<uint8_t>(name.copy(m.name_bytes, lease::max_model));
        });
    }
    make_series(other, other, {0, now_ms});
}

book_names book::names_of(const lease& l, const subject_table& subjects) const
{
    const subject& key = subjects.at(l.key());
    book_names names{.key = key.name(), .user = {}, .model = l.model()};
    uint32_t user_hash = 0;
    if (l.user() != no_index) {
        const subject& user = subjects.at(l.user());
        const subject_kind kind = user.kind.load(std::memory_order_relaxed);
        names.named_user = kind != subject_kind::user;
        names.user = user.name();
        user_hash = user.hash;
        if (names.named_user) {
            name_rest(names, key.hash, subjects);
            const bool shares = is_shared_kind(kind);
            names.user = shares ? other_name : names.user;
            user_hash = shares ? subjects.hash_of(subject_kind::user, other_name)
                               : subject_table::hash_as(subject_kind::user, user);
        }
    }
    names.client_hash = hash_of_client(key.hash, user_hash);
    names.model_hash = static_cast<uint32_t>(subjects.keyed_hash(names.model));

    // The record is on its way into the cache before the lock is taken, and mostly need not be looked for
    // under it.
    const uint32_t client =
        clients_.guess(names.client_hash, [&](const book_client& c) { return is_client(c, names); });
    if (client != no_index) {
        uint32_t model = names.model.empty() ? none : other;
        if (!names.model.empty()) {
            const uint32_t known = models_.guess(
                names.model_hash, [&](const book_model& m) { return same(m.name(), names.model); });
            model = known != no_index ? known : other;
        }
        names.guess = series_.guess(hash_of_series(client, model), [&](const book_series& s) {
            return s.client == client && s.model == model;
        });
        if (names.guess != no_index) {
            series_.prefetch(names.guess);
        }
    }
    return names;
}

book_names book::names_of(std::string_view key, std::string_view user, std::string_view model,
                          const subject_table& subjects, bool named_user) const
{
    book_names names{
        .key = key, .user = user, .model = utf8_cut(model, lease::max_model), .named_user = named_user};
    const uint32_t key_hash = subjects.hash_of(subject_kind::key, key);
    if (named_user) {
        name_rest(names, key_hash, subjects);
    }
    names.client_hash =
        hash_of_client(key_hash, user.empty() ? 0 : subjects.hash_of(subject_kind::user, user));
    names.model_hash = static_cast<uint32_t>(subjects.keyed_hash(names.model));
    return names;
}

// A name that is that of the first record is counted there, so that no two records have the same names.
uint32_t book::find_client(const book_names& names) const
{
    if (names.key.empty()) {
        return none;
    }
    if (names.key == other_name && names.user == other_name) {
        return other;
    }
    return clients_.find(names.client_hash, [&](const book_client& c) { return is_client(c, names); });
}

uint32_t book::find_model(const book_names& names) const
{
    if (names.model.empty()) {
        return none;
    }
    if (names.model == other_name) {
        return other;
    }
    return models_.find(names.model_hash, [&](const book_model& m) { return same(m.name(), names.model); });
}

uint32_t book::find_series(uint32_t client, uint32_t model) const
{
    return series_.find(hash_of_series(client, model),
                        [&](const book_series& s) { return s.client == client && s.model == model; });
}

// What was guessed may have become another's.
bool book::is_series_of(uint32_t series, const book_names& names) const
{
    if (!series_.is_made(series)) {
        return false;
    }
    const book_series& s = series_.at(series);
    return s.client > none && s.model != other && is_client(clients_.at(s.client), names)
           && same(models_.at(s.model).name(), names.model);
}

uint32_t book::client_for(const book_names& names, const moment& now, undo_journal& journal)
{
    const uint32_t client = find_client(names);
    if (client != no_index) {
        return client;
    }
    if (!names.named_user || names.user == other_name) {
        return make_client(names, now, journal);
    }
    book_names others = names;
    others.user = other_name;
    others.client_hash = names.rest_hash;
    uint32_t rest = find_client(others);
    rest = rest != no_index ? rest : make_client(others, now, journal);
    if (rest == other || clients_.at(rest).rest >= max_users_of_one() || named_ >= max_named_users()) {
        return rest;
    }
    const uint32_t made = make_client(names, now, journal);
    if (made == other) {
        return rest;
    }
    clients_.at(made).rest = rest;
    // Last, so that a process killed on the way leaves one that is counted nowhere.
    clients_.at(made).named = true;
    clients_.at(rest).rest++;
    named_++;
    return made;
}

uint32_t book::make_client(const book_names& names, const moment& now, undo_journal& journal)
{
    if (!clients_.has_free()) {
        fold_one(now, journal);
    }
    if (!clients_.has_free() || names.key.size() > max_name || names.user.size() > max_name) {
        return other;
    }
    return clients_.make(names.client_hash, now.unix_ms, [&](book_client& c) {
        c.key_len = static_cast<uint8_t>(names.key.copy(c.key_bytes, max_name));
        c.user_len = static_cast<uint8_t>(names.user.copy(c.user_bytes, max_name));
    });
}

uint32_t book::make_model(const book_names& names, uint32_t by, const moment& now)
{
    return models_.make(names.model_hash, now.unix_ms, [&](book_model& m) {
        m.name_len = static_cast<uint8_t>(names.model.copy(m.name_bytes, lease::max_model));
        m.by = by;
        m.by_serial = by != none ? clients_.at(by).serial : 0;
    });
}

uint32_t book::model_for(const book_names& names, bool answered, uint32_t client, const moment& now)
{
    const uint32_t model = find_model(names);
    if (model != no_index) {
        return model;
    }
    // All users that a key's application names count as one.
    const uint32_t by = clients_.at(client).named ? clients_.at(client).rest : client;
    if (!answered || !models_.has_free() || clients_.at(by).models >= max_models_of_one()) {
        return other;
    }
    clients_.at(by).models++;
    return make_model(names, by, now);
}

void book::touch(uint32_t series)
{
    series_.at(series).changed = mark_;
    marks_.touch(series, mark_);
}

uint32_t book::make_series(uint32_t client, uint32_t model, const moment& now)
{
    clients_.at(client).series++;
    const uint32_t made = series_.make(hash_of_series(client, model), now.unix_ms, [&](book_series& s) {
        s.client = client;
        s.model = model;
    });
    touch(made);
    return made;
}

// Of a client without room for a model of its own, what is counted for all other models; of one without room
// for any, what is counted for all others.
uint32_t book::series_for(uint32_t client, uint32_t model, const moment& now, undo_journal& journal)
{
    const uint32_t most = clients_.at(client).named ? few_series : max_series_of_one();
    for (const uint32_t of : {model, other}) {
        const uint32_t series = find_series(client, of);
        if (series != no_index) {
            return series;
        }
        if (of != other && clients_.at(client).series >= most) {
            continue;
        }
        if (!series_.has_free()) {
            fold_one(now, journal);
        }
        if (series_.has_free()) {
            return make_series(client, of, now);
        }
    }
    return find_series(other, other);
}

book::place book::find_place(const book_names& names, bool answered, const moment& now, undo_journal& journal)
{
    if (is_series_of(names.guess, names)) [[likely]] {
        const book_series& s = series_.at(names.guess);
        return {s.client, s.model, names.guess};
    }
    const uint32_t client = client_for(names, now, journal);
    const uint32_t model = model_for(names, answered, client, now);
    return {client, model, series_for(client, model, now, journal)};
}

// Names that no upstream was asked for make no series.
book::place book::find_place_of_refused(const book_names& names, const moment& now, undo_journal& journal)
{
    const uint32_t client = client_for(names, now, journal);
    const uint32_t model = find_model(names);
    const uint32_t series = model != no_index ? find_series(client, model) : no_index;
    if (series != no_index) {
        return {client, model, series};
    }
    return {client, model, series_for(client, model == none ? none : other, now, journal)};
}

namespace {

void add(book_period& to, uint32_t number, const token_counts& used, uint64_t cost)
{
    // A clock that steps back begins no period a second time.
    if (number > to.number) {
        to = {.requests = 0, .prompt = 0, .completion = 0, .cost = 0, .number = number};
    }
    to.requests++;
    to.prompt += used.prompt;
    to.completion += used.completion;
    to.cost += cost;
}

} // namespace

void book::count_second(const moment& now, bool refused, const token_counts& used, undo_journal& journal)
{
    const uint64_t second = static_cast<uint64_t>(std::max<int64_t>(now.unix_ms, 0)) / 1000;
    book_second& s = head_->rates[second % book_head::seconds];
    journal.keep(&s, sizeof s);
    if (s.second != second) {
        s = {.second = second, .requests = 0, .refused = 0, .prompt = 0, .completion = 0};
    }
    s.requests++;
    s.refused += refused;
    s.prompt += used.prompt;
    s.completion += used.completion;
}

void book::count(const place& at, const request_end& end, const token_counts& used, uint64_t cost,
                 const moment& now, undo_journal& journal)
{
    book_series& s = series_.at(at.series);
    touch(at.series);
    book_counts& c = s.counts;
    journal.keep(&c, sizeof c);
    c.requests[index_of(end.is)]++;
    c.tokens.add(used);
    c.cost += cost;
    c.ms += end.ms;
    if (end.has_first) {
        c.first_ms += end.first_ms;
        c.firsts++;
    }
    const uint32_t hour = hour_of(now.unix_ms);
    add(c.day, quota_period(quota_window::day, hour), used, cost);
    add(c.month, quota_period(quota_window::month, hour), used, cost);

    book_model& m = models_.at(at.model);
    if (end.timed) {
        m.duration.count(end.ms, journal);
    }
    if (end.has_first) {
        m.first_token.count(end.first_ms, journal);
    }
    if (end.token_us != 0) {
        m.token.count(end.token_us, journal);
    }
    if (end.gateway_ns != 0) {
        head_->gateway.count(end.gateway_ns, journal);
    }
    if (end.let_in) {
        uint64_t& source = head_->sources[static_cast<size_t>(end.source)];
        journal.keep(&source, sizeof source);
        source++;
    }
    count_second(now, false, used, journal);
}

void book::count_refused(const place& at, size_t reason, const moment& now, undo_journal& journal)
{
    book_series& s = series_.at(at.series);
    touch(at.series);
    uint64_t& requests = s.counts.requests[index_of(outcome::refused)];
    uint64_t& refusals = clients_.at(at.client).refusals[reason];
    journal.keep(&requests, sizeof requests);
    journal.keep(&refusals, sizeof refusals);
    requests++;
    refusals++;
    count_second(now, true, {}, journal);
}

void book::name_model(std::string_view name, const subject_table& subjects, const moment& now)
{
    const book_names names = names_of({}, {}, name, subjects);
    if (find_model(names) == no_index && models_.has_free()) {
        make_model(names, none, now);
    }
}

void book::set_gone(uint32_t client, uint64_t serial, bool gone)
{
    book_client& c = clients_.at(client);
    if (client > none && clients_.is_made(client) && c.serial == serial && c.gone != gone) {
        c.gone = gone;
        gone_ += gone ? 1 : ~0u;
    }
}

// Makes room, if a few looks find whose.
void book::fold_one(const moment& now, undo_journal& journal)
{
    if (gone_ == 0) {
        return;
    }
    for (uint32_t looks = 0; looks < max_looks; looks++) {
        series_hand_ = series_hand_ + 1 < series_.high_water() ? series_hand_ + 1 : 0;
        if (series_.is_made(series_hand_) && clients_.at(series_.at(series_hand_).client).gone) {
            fold_series(series_hand_, now, journal);
            break;
        }
    }
    for (uint32_t looks = 0; looks < max_looks; looks++) {
        client_hand_ = client_hand_ + 1 < clients_.high_water() ? client_hand_ + 1 : 0;
        const book_client& c = clients_.at(client_hand_);
        if (clients_.is_made(client_hand_) && c.gone && c.series == 0 && (c.named || c.rest == 0)) {
            fold_client(client_hand_, journal);
            break;
        }
    }
}

void book::fold_series(uint32_t index, const moment&, undo_journal& journal)
{
    book_series& from = series_.at(index);
    // The model's own, if the client of all others has one: its sums are right as well then.
    uint32_t to_index = find_series(other, from.model);
    to_index = to_index != no_index ? to_index : find_series(other, other);
    book_series& to = series_.at(to_index);
    touch(to_index);
    book_counts& c = to.counts;
    journal.keep(&c, sizeof c);
    journal.keep(&from.made, sizeof from.made);
    folds_++; // first: one too many does no harm
    c.add(from.counts);
    clients_.at(from.client).series--;
    series_.remove(index);
    journal.commit();
}

void book::fold_client(uint32_t index, undo_journal& journal)
{
    book_client& from = clients_.at(index);
    book_client& to = clients_.at(other);
    journal.keep(&to.refusals, sizeof to.refusals);
    journal.keep(&from.made, sizeof from.made);
    for (size_t i = 0; i < refusal_reasons; i++) {
        to.refusals[i] += from.refusals[i];
    }
    gone_--;
    if (from.named) {
        named_--;
        clients_.at(from.rest).rest--;
    }
    clients_.remove(index);
    journal.commit();
}

void book::rebuild()
{
    clients_.rebuild();
    models_.rebuild();
    series_.rebuild();
    gone_ = 0;
    for (uint32_t i = 0; i < clients_.high_water(); i++) {
        book_client& c = clients_.at(i);
        c.series = 0;
        c.models = 0;
        c.rest = c.named ? c.rest : 0;
        gone_ += clients_.is_made(i) && c.gone;
    }
    named_ = 0;
    for (uint32_t i = 0; i < clients_.high_water(); i++) {
        if (clients_.is_made(i) && clients_.at(i).named) {
            named_++;
            clients_.at(clients_.at(i).rest).rest++;
        }
    }
    for (uint32_t i = 0; i < series_.high_water(); i++) {
        if (series_.is_made(i)) {
            clients_.at(series_.at(i).client).series++;
        }
    }
    for (uint32_t i = 0; i < models_.high_water(); i++) {
        const book_model& m = models_.at(i);
        if (models_.is_made(i) && m.by_serial != 0 && clients_.is_made(m.by)
            && clients_.at(m.by).serial == m.by_serial) {
            clients_.at(m.by).models++;
        }
    }
}

} // namespace llm
