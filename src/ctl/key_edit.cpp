#include "key_edit.h"

#include "exit_code.h"
#include "json_text_writer.h"
#include "key_change.h"
#include "key_fields.h"

#include <algorithm>
#include <ctime>

namespace llm::ctl {

namespace {

using places_change = std::function<int(key_text&, std::vector<size_t>&)>;

int change_named(const arguments& given, std::span<const std::string_view> names, const char* done,
                 output& out, const places_change& change)
{
    lazy_nginx_conf conf;
    const auto path = find_key_file(given, conf, out);
    if (!path) {
        return exit_failed;
    }
    const int code = change_key_file(
        *path, {},
        [&](key_text& keys, const key_file&) {
            std::vector<size_t> places;
            return find_keys(keys, names, places, out) ? change(keys, places) : exit_wrong;
        },
        out);
    if (code != exit_well) {
        return code;
    }
    if (out.json()) {
        out.line("{\"ok\":true,\"file\":" + json_quoted(*path) + "}");
        return exit_well;
    }
    for (const std::string_view name : names) {
        out.line(printable(name) + ": " + done);
    }
    return exit_well;
}

} // namespace

int run_key_set(const arguments& given, output& out)
{
    std::string fields;
    for (const key_field& each : key_fields()) {
        fields += (fields.empty() ? "" : ", ") + std::string(each.name);
    }
    struct setting {
        const key_field* field;
        std::string_view value;
    };
    std::vector<setting> settings;
    for (const std::string_view word : given.words().subspan(1)) {
        const size_t equals = word.find('=');
        const key_field* field = find_key_field(word.substr(0, equals));
        if (equals == std::string_view::npos || !field) {
            // What stands behind "=" is not shown.
            return out.fail((equals == std::string_view::npos
                                 ? "expected FIELD=VALUE"
                                 : "there is no field " + std::string(word.substr(0, equals)))
                            + ": the fields are " + fields);
        }
        settings.push_back({field, word.substr(equals + 1)});
    }
    const int code = change_named(
        given, given.words().first(1), "changed", out, [&](key_text& keys, std::vector<size_t>& places) {
            for (const setting& each : settings) {
                std::optional<std::string> value = "";
                if (!each.value.empty()) {
                    value = field_json(*each.field, each.value, time(nullptr), inline_style(keys.text()));
                }
                if (!value) {
                    return out.wrong(std::string(each.field->name) + ": "
                                     + std::string(expected_of(*each.field)) + ", got "
                                     + std::string(each.value));
                }
                keys.set(places[0], each.field->name, *value);
            }
            return exit_well;
        });
    const bool is_past_now = std::any_of(settings.begin(), settings.end(), [](const setting& each) {
        return is_past(*each.field, each.value, time(nullptr));
    });
    if (code == exit_well && is_past_now) {
        out.warn("that time is over: the key is refused");
    }
    for (const setting& each : settings) {
        if (code == exit_well && each.field->name == "user_from" && !each.value.empty() && out.flush()) {
            hint_user_from(each.value, out);
        }
    }
    return code;
}

int run_key_enable(const arguments& given, output& out)
{
    return change_named(given, given.words(), "enabled", out,
                        [](key_text& keys, std::vector<size_t>& places) {
                            for (const size_t place : places) {
                                keys.set(place, "enabled", "");
                            }
                            return exit_well;
                        });
}

int run_key_disable(const arguments& given, output& out)
{
    return change_named(given, given.words(), "disabled", out,
                        [](key_text& keys, std::vector<size_t>& places) {
                            for (const size_t place : places) {
                                keys.set(place, "enabled", "false");
                            }
                            return exit_well;
                        });
}

int run_key_remove(const arguments& given, output& out)
{
    return change_named(given, given.words(), "removed", out,
                        [](key_text& keys, std::vector<size_t>& places) {
                            // From the end, so that the places of others stay.
                            std::sort(places.rbegin(), places.rend());
                            for (const size_t place : places) {
                                keys.remove(place);
                            }
                            return exit_well;
                        });
}

} // namespace llm::ctl
