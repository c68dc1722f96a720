// The text of a key file, and changes of single keys in it. docs/keys.md
#pragma once

#include "core/base/digest.h"
#include "json_edit.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm::ctl {

class key_text {
public:
    // A key file that the parser has found right. The text is wiped in the end: it may have plain keys.
    explicit key_text(std::string text);
    key_text(const key_text&) = delete;
    key_text& operator=(const key_text&) = delete;
    ~key_text();

    // What a file without keys looks like.
    static std::string_view empty_file();

    const std::string& text() const { return text_; }

    size_t size() const { return records_.size(); }
    // The place of the key with this name in "keys". Without "name" a key is called as its user.
    std::optional<size_t> find(std::string_view name) const;
    // Whether a key stands in the file as it is, not as a digest; and its length.
    struct plain_key {
        bool is_there;
        size_t length;
    };
    plain_key plain(size_t index) const;

    void add(const json_members& members) { add_all({&members, 1}); }
    void add_all(std::span<const json_members> all);
    void remove(size_t index);
    // Sets a field of a key, as JSON; an empty value removes it. A limit goes where the key has such limits.
    // A key that is called as its user keeps that name whatever becomes of the user.
    void set(size_t index, std::string_view field, std::string_view value);
    // The new digest in the place of all others, also of a plain key; with `keep_old` beside them. `old` are
    // those in force.
    void rotate(size_t index, const digest& now, const std::vector<digest>& old, bool keep_old);

private:
    struct extent {
        size_t begin, end;
    };
    // Where each key is.
    void look();

    std::string text_;
    size_t keys_ = 0; // where the array begins
    std::vector<extent> records_;
};

} // namespace llm::ctl
