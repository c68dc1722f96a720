// The book: what settled and refused requests leave behind, by who asked and for which model. Metrics, status
// and all else that tells what was used read it; nothing else counts.
//
// Nothing is dropped. A series is of a client (a key with its user) and a model. What finds no room for a
// series of its own is counted under `other`, whose records are there from the beginning, and so is a model
// that no upstream has ever answered for: so the sums are right whatever clients name. No client may have
// more than a part of the series, nor be the first to name more than a part of the models. A key whose
// application names its users (`user_from`) has a client for each of so many, and one, `other`, for all
// others of them. Series of keys that are in no file any more are folded into `other` when room is needed, a
// few with each request.
//
// Lies in the shared zone; every function needs its lock, unless it says otherwise.
#pragma once

#include "book_records.h"
#include "change_marks.h"
#include "subject_table.h"
#include "undo_journal.h"

#include "core/limit/limits.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// Whom and what a request is counted for.
struct book_names {
    std::string_view key;
    std::string_view user;
    std::string_view model;
    bool named_user = false;  // by the key's application, see user_from
    uint32_t rest_hash = 0;   // of such a key's client for all other users
    uint32_t client_hash = 0; // see book::hash_of_client()
    uint32_t model_hash = 0;
    uint32_t guess = no_index; // the series that it likely is
};

class book {
public:
    // The first records of all tables.
    static constexpr uint32_t other = 0;
    static constexpr uint32_t none = 1; // clients: without a key that is known; models: none was named
    static constexpr std::string_view other_name = "other";

    // Records that are looked at, at most, for one of a key that is gone.
    static constexpr uint32_t max_looks = 8;
    static constexpr uint32_t few_models = 8;
    static constexpr uint32_t few_series = 8;
    static constexpr uint32_t few_users = 8;

    // Once everything has its memory, and is empty.
    void begin(int64_t now_ms);

    // --- who is counted. Without the lock.

    static uint32_t hash_of_client(uint32_t key_hash, uint32_t user_hash)
    {
        return key_hash * 0x9e3779b1u ^ user_hash;
    }
    // Of the request of a lease that the caller owns, or that ends with the lock held.
    book_names names_of(const lease& l, const subject_table& subjects) const;
    // Of a request without a lease; `key` is empty where it is not known.
    book_names names_of(std::string_view key, std::string_view user, std::string_view model,
                        const subject_table& subjects, bool named_user = false) const;

    // --- counting

    // A request has ended: all is kept in the journal first, and the caller commits. `answered`: an upstream
    // has answered 200 for its model. The places are found, and made, before anything else of the change is
    // kept: find_place() commits what it changes.
    struct place {
        uint32_t client;
        uint32_t model;
        uint32_t series;
    };
    place find_place(const book_names& names, bool answered, const moment& now, undo_journal& journal);
    place find_place_of_refused(const book_names& names, const moment& now, undo_journal& journal);
    void count(const place& at, const request_end& end, const token_counts& used, uint64_t cost,
               const moment& now, undo_journal& journal);
    // The same of one that was refused.
    void count_refused(const place& at, size_t reason, const moment& now, undo_journal& journal);

    // The configuration names this model.
    void name_model(std::string_view name, const subject_table& subjects, const moment& now);
    // Whether a client is of a key that is in no file any more. Who looked at it without the lock says whom
    // it saw.
    void set_gone(uint32_t client, uint64_t serial, bool gone);

    // --- reading

    const book_table<book_client>& clients() const { return clients_; }
    const book_table<book_model>& models() const { return models_; }
    const book_table<book_series>& series() const { return series_; }
    const book_head& head() const { return *head_; }
    uint32_t max_models_of_one() const { return std::max(models_.capacity() / 16, few_models); }
    uint32_t max_series_of_one() const { return std::max(series_.capacity() / 16, few_series); }
    // Users that one key may name, and all together.
    uint32_t max_users_of_one() const { return std::max(clients_.capacity() / 8, few_users); }
    uint32_t max_named_users() const { return clients_.capacity() / 2; }
    // The record of a client or a model, or no_index; and of what this client has used of this model.
    uint32_t find_client(const book_names& names) const;
    uint32_t find_model(const book_names& names) const;
    uint32_t find_series(uint32_t client, uint32_t model) const;
    // What changes from now on has this mark or a later one. There were none before 1.
    uint64_t next_mark() { return ++mark_; }
    // The first series from `index` on, if there is one, that may have changed since then. Needs no lock.
    uint32_t skip_unchanged(uint32_t index, uint64_t mark) const { return marks_.skip(index, mark); }
    // How many series were folded. One that was is counted in that of all other clients for its model, if
    // there was one, else in that of all others.
    uint64_t folds() const { return folds_; }

    // Makes anew what can be derived from the records.
    void rebuild();

private:
    friend struct area_rows;

    bool is_series_of(uint32_t series, const book_names& names) const;
    uint32_t client_for(const book_names& names, const moment& now, undo_journal& journal);
    uint32_t make_client(const book_names& names, const moment& now, undo_journal& journal);
    uint32_t model_for(const book_names& names, bool answered, uint32_t client, const moment& now);
    uint32_t series_for(uint32_t client, uint32_t model, const moment& now, undo_journal& journal);
    uint32_t make_model(const book_names& names, uint32_t by, const moment& now);
    void touch(uint32_t series);
    uint32_t make_series(uint32_t client, uint32_t model, const moment& now);
    void fold_one(const moment& now, undo_journal& journal);
    void fold_series(uint32_t index, const moment& now, undo_journal& journal);
    void fold_client(uint32_t index, undo_journal& journal);
    void count_second(const moment& now, bool refused, const token_counts& used, undo_journal& journal);

    book_table<book_client> clients_;
    book_table<book_model> models_;
    book_table<book_series> series_;
    book_head* head_;
    uint64_t mark_;
    change_marks marks_; // of series
    uint64_t folds_;
    uint32_t gone_;        // clients: derived
    uint32_t named_;       // likewise
    uint32_t series_hand_; // what is looked at next for one that is gone
    uint32_t client_hand_;
};

} // namespace llm
