// What is said of the key files in force, copied out of the zone: its readers need memory, which is not to be
// asked for while the zone is locked.
#pragma once

#include "key_table.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>

namespace llm {

struct file_entry {
    std::string_view path;
    uint32_t keys;
    int64_t read_ms;  // when, wall clock, since 1970
    file_fault fault; // of its present text, if that is not the one in force
};

// Bytes that copy_files() needs for these files. Needs the zone's lock.
inline size_t file_list_bytes(std::span<const key_table::file_info> files)
{
    size_t bytes = files.size() * sizeof(file_entry);
    for (const key_table::file_info& f : files) {
        bytes += f.path.size;
    }
    return bytes;
}

// Copies them, in their order, into `memory`, which is aligned for file_entry and as large as is needed; the
// list lies there. Needs the zone's lock; the list does not.
inline std::span<const file_entry> copy_files(std::span<const key_table::file_info> files, void* memory)
{
    auto* const list = static_cast<file_entry*>(memory);
    auto* text = reinterpret_cast<char*>(list + files.size());
    for (size_t i = 0; i < files.size(); i++) {
        const std::string_view path = files[i].path.view();
        path.copy(text, path.size());
        new (&list[i]) file_entry{{text, path.size()}, files[i].n_keys, files[i].read_ms, files[i].fault};
        text += path.size();
    }
    return {list, files.size()};
}

} // namespace llm
