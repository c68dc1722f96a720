// The key file: JSON text to checked records.
#pragma once

#include "core/shared/key_record.h"
#include "sha256.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

// Bytes of a key file at most.
inline constexpr size_t max_key_file = size_t{1} << 30;

// Why a key file is refused. One line of printable ASCII of at most 300 bytes, without the secret of any key.
struct file_error {
    uint32_t line = 0;   // from 1; 0 if it is not about a place in the file (cannot be opened, too large)
    uint32_t column = 0; // in bytes, from 1; 0 with line 0
    std::string text;
};

// Reads the text of a key file. On success returns nothing and replaces `out` but for its path; on an error
// `out` is unchanged. Plain keys are hashed at once; the caller wipes its own `text`. Time is linear in the
// size of the text, and the JSON tree of only one key (or of all plans) exists at a time.
std::optional<file_error> parse_key_file(std::string_view text, key_file& out);

// Of a key that is found by its name: no client can send a secret that has it. Allocates nothing. False if
// OpenSSL fails.
bool name_digest(std::string_view name, digest& out);

// To be called once for a file that is to be in force. With `by_name`, each key also gets the digest of its
// name, by which the name finds it as a secret does; without it, a key without a secret is an error.
std::optional<file_error> finish_keys(key_file& file, bool by_name);

// What to say of a file that is in force and should be better, for the log; with a place where there is one.
std::vector<file_error> warnings_of(const key_file& file);

// The same for a file, which has to be a regular one, and must not change meanwhile; sets out.path, out.stamp
// and out.read_ms. The text read is wiped.
std::optional<file_error> load_key_file(const char* path, key_file& out);

} // namespace llm
