// Whom limits are for, and counters of.
#pragma once

#include <cstddef>
#include <cstdint>

namespace llm {

// No record of a table.
inline constexpr uint32_t no_index = ~0u;

// The zone has one record, without a name. A failed_auth is an address that wrong keys come from; addresses
// are named by their bytes (see address_name in subject_names.h). Those called other are for all further
// models, addresses or users of the key whose name they have, together. A named_user is one that an
// application names which all of its users share a key of (`user_from`); it is limited as a user.
enum class subject_kind : uint8_t {
    none,
    key,
    user,
    model,
    address,
    zone,
    failed_auth,
    other_models,
    other_addresses,
    named_user,
    other_users
};
inline constexpr subject_kind last_kind = subject_kind::other_users;

// Whether clients that have a key choose the names, as many as they like.
inline constexpr bool chosen_with_key(subject_kind kind)
{
    return kind == subject_kind::model || kind == subject_kind::address || kind == subject_kind::named_user;
}

// What is shared by those, or none.
inline constexpr subject_kind shared_kind(subject_kind kind)
{
    return kind == subject_kind::model        ? subject_kind::other_models
           : kind == subject_kind::address    ? subject_kind::other_addresses
           : kind == subject_kind::named_user ? subject_kind::other_users
                                              : subject_kind::none;
}

inline constexpr bool is_shared_kind(subject_kind kind)
{
    return kind == subject_kind::other_models || kind == subject_kind::other_addresses
           || kind == subject_kind::other_users;
}

// Whether clients can have such records made without end, so that they may be used again.
inline constexpr bool named_by_clients(subject_kind kind)
{
    return chosen_with_key(kind) || kind == subject_kind::failed_auth || is_shared_kind(kind);
}

// Whom a lease can name, each at the place `kind - key`: key, user, model, address, zone.
inline constexpr size_t max_scopes = 5;

inline constexpr size_t place_of(subject_kind scope)
{
    return static_cast<size_t>(scope) - static_cast<size_t>(subject_kind::key);
}

// Bytes of a key's or user's name at most: names are kept in records of a fixed size.
inline constexpr size_t max_name = 80;

} // namespace llm
