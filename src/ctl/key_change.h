// Changes of a key file, checked before and after by the parser that nginx uses.
#pragma once

#include "command_line.h"
#include "core/shared/key_record.h"
#include "file_edit.h"
#include "key_place.h"
#include "key_text.h"

#include <functional>
#include <string>

namespace llm::ctl {

// Changes the text; returns an exit code, and the file stays as it is unless that is exit_well. It may be
// called more than once.
using key_change = std::function<int(key_text& keys, const key_file& now)>;

// Tells what is wrong, if something is. Returns an exit code.
int change_key_file(const std::string& path, const new_file& make, const key_change& change, output& out);

// Reads and checks a key file for a command that only looks. The text is for what the parser does not keep.
int read_key_file(const std::string& path, key_file& file, std::string& text, output& out);

// The places of keys with these names in `keys`. False if one is missing: tells it.
bool find_keys(const key_text& keys, std::span<const std::string_view> names, std::vector<size_t>& places,
               output& out);

} // namespace llm::ctl
