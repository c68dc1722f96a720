// A zone in memory of its own, with a key file in force.
#pragma once

#include "core/base/hash.h"
#include "core/shared/shared_state.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <string>
#include <sys/mman.h>

namespace llm {

inline digest digest_of_number(uint64_t n)
{
    digest d{};
    // A key's digest is as good as random; its first bytes choose its slot.
    uint64_t mixed = n * 0x9e3779b97f4a7c15u;
    memcpy(d.data(), &mixed, sizeof mixed);
    memcpy(d.data() + 8, &n, sizeof n);
    return d;
}

inline key_file file_of(std::string path, size_t keys)
{
    key_file file;
    file.path = std::move(path);
    file.policies.resize(1);
    for (size_t i = 0; i < keys; i++) {
        key_record& k = file.keys.emplace_back();
        k.name = "key" + std::to_string(i);
        k.user = "user" + std::to_string(i / 2);
        k.digests = {digest_of_number(i)};
    }
    return file;
}

class shared_zone {
public:
    explicit shared_zone(size_t bytes = 1 << 20, const hash_key& key = {1, 2})
        : bytes_(bytes),
          memory_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
          state_(shared_state::format(memory_, bytes, key))
    {
    }
    ~shared_zone() { munmap(memory_, bytes_); }

    void publish(const key_file& file)
    {
        const key_file* files[] = {&file};
        ASSERT_LE(key_table::bytes(files), state_->key_area_bytes());
        const publisher::ticket ticket = state_->begin_staging(
            {1, 1}, [](auto&& change) { change(); }, [](const lease_owner&) { return false; });
        ASSERT_TRUE(state_->publish(ticket, key_table::write(state_->next_key_area(), files)));
        state_->end_staging(ticket);
    }

    admission_request request(uint64_t key, std::string_view model = "m", uint32_t owner = 0) const
    {
        return {
            name_hash("keys.json"), digest_of_number(key), address_, true, true, model, true, owner, 1000000};
    }

    // As the module does it, but with the estimate that the request has.
    admission_result admit(admission_request r)
    {
        shared_key* found = nullptr;
        return state_->check_and_admit(r, nullptr, found);
    }

    const subject& key(std::string_view name) const
    {
        return state_->subjects().at(state_->subjects().find(subject_kind::key, name));
    }
    const subject& user(std::string_view name) const
    {
        return state_->subjects().at(state_->subjects().find(subject_kind::user, name));
    }

    // Of this name, of the whole memory.
    area_bytes part(std::string_view name) const
    {
        for (const area_bytes& part : state_->parts(bytes_)) {
            if (part.name == name) {
                return part;
            }
        }
        ADD_FAILURE() << "no part " << name;
        return {};
    }

    shared_state* operator->() const { return state_; }

    void* memory() const { return memory_; }
    size_t bytes() const { return bytes_; }

private:
    size_t bytes_;
    void* memory_;
    shared_state* state_;
    uint8_t address_[4] = {127, 0, 0, 1};
};

} // namespace llm
