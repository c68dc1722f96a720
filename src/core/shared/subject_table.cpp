#include "subject_table.h"

#include "core/base/bytes.h"

#include <bit>
#include <cstring>

namespace llm {

size_t subject_table::bytes(uint32_t capacity)
{
    return (size_t{capacity} + shared_by_all_records) * sizeof(subject)
           + size_t{std::bit_ceil(capacity | 1)} * sizeof(uint32_t)
           + change_marks::bytes(capacity + shared_by_all_records);
}

void subject_table::format(void* memory, uint32_t capacity, const hash_key& key)
{
    key_ = key;
    records_ = static_cast<subject*>(memory);
    buckets_ = reinterpret_cast<uint32_t*>(records_ + capacity + shared_by_all_records);
    bucket_mask_ = std::bit_ceil(capacity | 1) - 1;
    marks_.format(buckets_ + bucket_mask_ + 1, capacity + shared_by_all_records);
    capacity_ = capacity;
    high_water_ = 0;
    needed_ = 0;
    mark_ = 1;
    for (subject_kind kind : {subject_kind::model, subject_kind::address, subject_kind::named_user}) {
        records_[shared_by_all(kind)].kind.store(shared_kind(kind), std::memory_order_relaxed);
    }
    rebuild();
}

uint32_t subject_table::find(subject_kind kind, std::string_view name) const
{
    return kind == subject_kind::zone ? zone_ : find(kind, name, keyed_hash(name));
}

uint32_t subject_table::find(subject_kind kind, std::string_view name, uint64_t name_hash) const
{
    uint32_t hash = mixed(kind, name_hash);
    for (uint32_t i = buckets_[hash & bucket_mask_]; i != no_index; i = records_[i].next) {
        const subject& s = records_[i];
        if (s.hash == hash && s.kind.load(std::memory_order_relaxed) == kind && s.name_len == name.size()
            && same_bytes(s.name_bytes, name.data(), name.size())) {
            return i;
        }
    }
    return no_index;
}

uint32_t subject_table::find_or_make(subject_kind kind, std::string_view name, const moment& now)
{
    uint32_t index = find(kind, name);
    if (index != no_index || name.size() > max_name) {
        return index;
    }

    const bool guesses = kind == subject_kind::failed_auth;
    const bool has_room = !guesses || (failed_auths_ < capacity_ / 8 && names_ < name_room());
    if ((!has_room || !has_free())
        && !reuse_one(now, guesses && failed_auths_ >= capacity_ / 8 ? whose::failed_auth
                           : has_room                                ? whose::any
                                                                     : whose::name)) {
        return no_index;
    }
    return make(take_free(), kind, name, no_index);
}

uint32_t subject_table::find_or_make_for(uint32_t key, subject_kind kind, std::string_view name,
                                         const moment& now)
{
    uint32_t index = find(kind, name);
    if (index != no_index) {
        return index;
    }
    // What the key has used of its limits there would be forgotten with a record of its own.
    index = sharing(key, kind, now);
    if (index != no_index) {
        return index;
    }

    if (records_[key].names() < max_names()
        && ((names_ < name_room() && has_free()) || reuse_one(now, whose::name))) {
        return make(take_free(), kind, name, key);
    }
    index = own_at_rest(key, now);
    if (index != no_index) {
        // In place: it stays in the ring of all.
        unlink_name(index);
        unlink_bucket(index);
        used_--;
        names_--;
        return make(index, kind, name, key);
    }

    index = shared_of(key, kind);
    if (index == no_index
        && ((names_ + shared_ < shared_room() && has_free()) || reuse_one(now, whose::any))) {
        index = make(take_free(), shared_kind(kind), records_[key].name(), no_index);
    }
    return index != no_index ? index : shared_by_all(kind);
}

uint32_t subject_table::find_or_make_again(subject_kind kind, std::string_view name, std::string_view owner,
                                           const moment& now)
{
    if (is_shared_kind(kind) && name.empty()) {
        return shared_by_all(kind == subject_kind::other_models      ? subject_kind::model
                             : kind == subject_kind::other_addresses ? subject_kind::address
                                                                     : subject_kind::named_user);
    }
    const bool is_user = kind == subject_kind::user || kind == subject_kind::named_user;
    const uint32_t index = is_user ? find_user(name) : find(kind, name);
    if (index != no_index || name.size() > max_name) {
        return index;
    }
    if (chosen_with_key(kind) && !owner.empty()) {
        const uint32_t key = find_or_make(subject_kind::key, owner, now);
        return key != no_index ? find_or_make_for(key, kind, name, now) : no_index;
    }
    if (chosen_with_key(kind) || is_shared_kind(kind)) {
        const bool has_room = chosen_with_key(kind) ? names_ < name_room() : names_ + shared_ < shared_room();
        return has_room && has_free() ? make(take_free(), kind, name, no_index) : no_index;
    }
    return find_or_make(kind, name, now);
}

uint32_t subject_table::take_free()
{
    uint32_t index = free_;
    if (index == no_index) {
        return high_water_++;
    }
    free_ = records_[index].next;
    return index;
}

// Makes a record of one that is in no list but, where it was one that clients name, in their ring.
uint32_t subject_table::make(uint32_t index, subject_kind kind, std::string_view name, uint32_t owner)
{
    subject& s = records_[index];
    const bool in_ring = named_by_clients(s.kind.load(std::memory_order_relaxed));
    const uint32_t ring = s.ring;
    s.kind.store(subject_kind::none, std::memory_order_release);
    memset(static_cast<void*>(&s), 0, sizeof s);
    s.hash = mixed(kind, keyed_hash(name));
    s.name_len = name.size() & 127;
    name.copy(s.name_bytes, max_name);
    s.owner = owner;
    touch(s);
    if (kind == subject_kind::key) {
        s.names() = 0;
        s.names_of_key(false) = s.names_of_key(true) = no_index;
    }
    // Last, so that a process killed on the way leaves a record that rebuild() takes for free.
    s.kind.store(kind, std::memory_order_release);
    if (in_ring) {
        s.ring = ring;
    }
    link(index, in_ring);
    return index;
}

// Puts a record into its bucket, and into the rings, where it is looked at last.
void subject_table::link(uint32_t index, bool in_ring)
{
    subject& s = records_[index];
    uint32_t& bucket = buckets_[s.hash & bucket_mask_];
    s.next = bucket;
    bucket = index;
    used_++;
    const subject_kind kind = s.kind.load(std::memory_order_relaxed);
    if (!named_by_clients(kind)) {
        zone_ = kind == subject_kind::zone ? index : zone_;
        return;
    }
    if (!in_ring) {
        put_behind_hand(hand_[s.proved], index);
    }
    count_made(kind, 1);
    if (chosen_with_key(kind)) {
        link_name(index);
    }
}

// The hand moves on to it.
void subject_table::put_behind_hand(uint32_t& hand, uint32_t index)
{
    subject& s = records_[index];
    if (hand == no_index) {
        s.ring = index;
    } else {
        s.ring = records_[hand].ring;
        records_[hand].ring = index;
    }
    hand = index;
}

uint32_t subject_table::take_after_hand(uint32_t& hand)
{
    const uint32_t index = records_[hand].ring;
    if (index == hand) {
        hand = no_index;
    } else {
        records_[hand].ring = records_[index].ring;
    }
    return index;
}

// Puts a name into its key's ring, where it is looked at last.
void subject_table::link_name(uint32_t index)
{
    subject& s = records_[index];
    if (s.owner == no_index) {
        return;
    }
    subject& key = records_[s.owner];
    uint32_t& first = key.names_of_key(s.proved);
    if (first == no_index) {
        s.next_name() = s.previous_name() = first = index;
    } else {
        subject& next = records_[first];
        s.next_name() = first;
        s.previous_name() = next.previous_name();
        records_[next.previous_name()].next_name() = index;
        next.previous_name() = index;
    }
    key.names()++;
}

void subject_table::unlink_name(uint32_t index)
{
    subject& s = records_[index];
    if (s.owner == no_index) {
        return;
    }
    subject& key = records_[s.owner];
    uint32_t& first = key.names_of_key(s.proved);
    if (s.next_name() == index) {
        first = no_index;
    } else {
        records_[s.next_name()].previous_name() = s.previous_name();
        records_[s.previous_name()].next_name() = s.next_name();
        first = first == index ? s.next_name() : first;
    }
    key.names()--;
}

void subject_table::prove_name(uint32_t index)
{
    unlink_name(index);
    records_[index].proved = true;
    link_name(index);
}

// One of a key's names that can be used again, or no_index.
uint32_t subject_table::own_at_rest(uint32_t key, const moment& now)
{
    for (bool proved : {false, true}) {
        uint32_t& first = records_[key].names_of_key(proved);
        const uint32_t begin = first;
        for (uint32_t looks = 0; looks < max_looks && first != no_index; looks++) {
            const uint32_t index = first;
            first = records_[index].next_name();
            if (records_[index].at_rest(now)) {
                return index;
            }
            if (first == begin) {
                break;
            }
        }
    }
    return no_index;
}

void subject_table::count_made(subject_kind kind, uint32_t n)
{
    (is_shared_kind(kind) ? shared_ : names_) += n;
    failed_auths_ += kind == subject_kind::failed_auth ? n : 0;
}

bool subject_table::reuse_one(const moment& now, whose of)
{
    auto fits = [of](subject_kind kind) {
        return of == whose::any || (of == whose::name && !is_shared_kind(kind))
               || kind == subject_kind::failed_auth;
    };
    for (bool proved : {false, true}) {
        uint32_t& hand = hand_[proved];
        uint32_t looks = 0;
        uint32_t moves = 0;
        while (looks < max_looks && moves < max_moves && hand != no_index) {
            const uint32_t index = records_[hand].ring;
            const subject& s = records_[index];
            const subject_kind kind = s.kind.load(std::memory_order_relaxed);
            if (s.proved != proved) {
                put_behind_hand(hand_[s.proved], take_after_hand(hand));
                moves++;
            } else if (!fits(kind) || !s.at_rest(now)) {
                hand = index;
                looks++;
            } else {
                take_after_hand(hand);
                count_made(kind, ~0u);
                if (chosen_with_key(kind)) {
                    unlink_name(index);
                }
                remove(index);
                return true;
            }
        }
    }
    return false;
}

void subject_table::unlink_bucket(uint32_t index)
{
    uint32_t* at = &buckets_[records_[index].hash & bucket_mask_];
    while (*at != index) {
        at = &records_[*at].next;
    }
    *at = records_[index].next;
}

void subject_table::block(uint32_t key, uint32_t since)
{
    uint32_t& known = records_[key].blocked_since();
    blocked_ += (since != 0) - (known != 0);
    known = since;
    touch(records_[key]);
}

void subject_table::remove(uint32_t index)
{
    subject& s = records_[index];
    if (s.kind.load(std::memory_order_relaxed) == subject_kind::key) {
        blocked_ -= s.blocked_since() != 0;
        disown_names(s);
    }
    zone_ = index == zone_ ? no_index : zone_;
    s.kind.store(subject_kind::none, std::memory_order_release);
    unlink_bucket(index);
    s.next = free_;
    free_ = index;
    used_--;
}

// Its record may become another's, who is not to have them.
void subject_table::disown_names(subject& key)
{
    for (bool proved : {false, true}) {
        for (uint32_t first; (first = key.names_of_key(proved)) != no_index;) {
            unlink_name(first);
            records_[first].owner = no_index;
            touch(records_[first]);
        }
    }
}

void subject_table::rebuild()
{
    memset(buckets_, 0xff, (size_t{bucket_mask_} + 1) * sizeof(uint32_t));
    free_ = no_index;
    used_ = 0;
    names_ = 0;
    shared_ = 0;
    failed_auths_ = 0;
    blocked_ = 0;
    zone_ = no_index;
    hand_[0] = hand_[1] = no_index;
    for (uint32_t i = capacity_; i < capacity_ + shared_by_all_records; i++) {
        records_[i].in_flight = 0;
        records_[i].reserved = 0;
    }
    // Keys first: names are put into their rings.
    for (uint32_t i = 0; i < high_water_; i++) {
        subject& s = records_[i];
        s.in_flight = 0;
        s.reserved = 0;
        if (s.kind.load(std::memory_order_relaxed) == subject_kind::key) {
            s.names() = 0;
            s.names_of_key(false) = s.names_of_key(true) = no_index;
            blocked_ += s.blocked_since() != 0;
        }
    }
    for (uint32_t i = high_water_; i-- > 0;) {
        subject& s = records_[i];
        if (s.kind.load(std::memory_order_relaxed) == subject_kind::none) {
            s.next = free_;
            free_ = i;
            continue;
        }
        // The key may be gone: its names lose it one by one.
        if (chosen_with_key(s.kind.load(std::memory_order_relaxed)) && !is_key(s.owner)) {
            s.owner = no_index;
            touch(s);
        }
        link(i, false);
    }
}

} // namespace llm
