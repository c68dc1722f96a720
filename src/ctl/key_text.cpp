#include "key_text.h"

#include "json_text_writer.h"
#include "key_fields.h"
#include "keys/json_locate.h"
#include "keys/sha256.h"

#include <openssl/crypto.h>

namespace llm::ctl {

namespace {

constexpr json_step keys_step[] = {{"keys"}};

std::string name_at(std::string_view text, size_t object)
{
    for (const char* field : {"name", "user"}) {
        if (const auto at = find_value(text, object, field)) {
            return json_string_at(text, *at);
        }
    }
    return {};
}

std::string digest_json(const digest& value)
{
    return '"' + to_hex(value) + '"';
}

} // namespace

key_text::key_text(std::string text) : text_(std::move(text))
{
    look();
}

key_text::~key_text()
{
    OPENSSL_cleanse(text_.data(), text_.size());
}

std::string_view key_text::empty_file()
{
    return "{\n    \"keys\": []\n}\n";
}

void key_text::look()
{
    keys_ = json_locate(text_, 0, keys_step).value_or(0);
    records_.clear();
    for (const json_child& each : json_children(text_, keys_)) {
        records_.push_back({each.value, each.end});
    }
}

std::optional<size_t> key_text::find(std::string_view name) const
{
    for (size_t i = 0; i < records_.size(); i++) {
        if (name_at(text_, records_[i].begin) == name) {
            return i;
        }
    }
    return std::nullopt;
}

key_text::plain_key key_text::plain(size_t index) const
{
    const auto at = find_value(text_, records_[index].begin, "key");
    return at ? plain_key{true, json_string_at(text_, *at).size()} : plain_key{false, 0};
}

void key_text::add_all(std::span<const json_members> all)
{
    append_objects(text_, keys_, all);
    look();
}

void key_text::remove(size_t index)
{
    erase_element(text_, keys_, index);
    look();
}

void key_text::set(size_t index, std::string_view field, std::string_view value)
{
    const size_t at = records_[index].begin;
    const key_field* known = find_key_field(field);
    if (field == "user" && !find_value(text_, at, "name")) {
        set_member(text_, at, "name", json_quoted(name_at(text_, at)));
    }
    const bool is_limit = known && known->is == key_field::kind::limit;
    const std::optional<size_t> limits = is_limit ? find_value(text_, at, "limits") : std::nullopt;
    const bool is_short = field == "quota" && (!limits || !find_value(text_, *limits, "quota"));
    if (!is_limit || (is_short && (!limits || find_value(text_, at, "quota")))) {
        if (value.empty()) {
            erase_member(text_, at, field);
        } else {
            set_member(text_, at, field, value);
        }
    } else if (limits && value.empty()) {
        erase_member(text_, *limits, field);
        if (json_children(text_, *limits).empty()) {
            erase_member(text_, at, "limits");
        }
    } else if (limits) {
        set_member(text_, *limits, field, value);
    } else if (!value.empty()) {
        set_member(text_, at, "limits",
                   object_text({{std::string(field), std::string(value)}}, inline_style(text_)));
    }
    look();
}

void key_text::rotate(size_t index, const digest& now, const std::vector<digest>& old, bool keep_old)
{
    const size_t at = records_[index].begin;
    std::string value = digest_json(now);
    if (keep_old) {
        std::vector<std::string> all;
        for (const digest& each : old) {
            all.push_back(digest_json(each));
        }
        all.push_back(value);
        value = array_text(all, inline_style(text_));
    }
    if (find_value(text_, at, "sha256")) {
        set_member(text_, at, "sha256", value);
        erase_member(text_, at, "key");
    } else if (!find_value(text_, at, "key")) {
        set_member(text_, at, "sha256", value); // it had no secret
    } else {
        replace_member(text_, at, "key", "sha256", value);
    }
    look();
}

} // namespace llm::ctl
