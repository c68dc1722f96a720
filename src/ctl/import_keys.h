// Rows of other programs as keys of a key file.
#pragma once

#include "core/base/digest.h"
#include "import_rows.h"
#include "json_edit.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llm::ctl {

struct imported_key {
    std::string name; // wanted; made unique later
    digest hashed{};
    bool was_plain = false;
    json_members members; // all but the name and the digest
};

// What is not taken over, each with the number of keys that have it.
class import_notes {
public:
    void add(const std::string& what);
    std::vector<std::string> texts() const;

private:
    std::vector<std::pair<std::string, size_t>> counts_;
};

// What is wrong with the row, or nothing.
std::optional<std::string> fastapi_key(const import_row& row, const json_style& style, imported_key& key,
                                       import_notes& notes);
std::optional<std::string> litellm_key(const import_row& row, const json_style& style, imported_key& key,
                                       import_notes& notes);

} // namespace llm::ctl
