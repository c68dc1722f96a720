#include "usage.h"

#include "core/base/chars.h"
#include "exit_code.h"
#include "json_text_writer.h"
#include "key_place.h"
#include "keys/time_text.h"
#include "state/usage_query.h"
#include "text_table.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>

namespace llm::ctl {

namespace {

constexpr const char* default_state = "/var/lib/nginx/llm/state.db";

constexpr std::pair<std::string_view, usage_column> columns[] = {{"day", usage_column::day},
                                                                 {"key", usage_column::key},
                                                                 {"user", usage_column::user},
                                                                 {"model", usage_column::model}};

struct sum_column {
    std::string_view name;
    std::string_view title;
    uint64_t usage_sums::*at;
};
constexpr sum_column sum_columns[] = {
    {"requests", "REQUESTS", &usage_sums::requests},
    {"refused", "REFUSED", &usage_sums::refused},
    {"prompt", "PROMPT", &usage_sums::prompt},
    {"cached", "CACHED", &usage_sums::cached},
    {"completion", "COMPLETION", &usage_sums::completion},
    {"reasoning", "REASONING", &usage_sums::reasoning},
    {"cache_write", "CACHE WRITE", &usage_sums::cache_write},
    {"cost", "COST", &usage_sums::cost},
};

std::string_view name_of(usage_column column)
{
    return std::find_if(std::begin(columns), std::end(columns),
                        [&](const auto& each) { return each.second == column; })
        ->first;
}

std::string upper(std::string_view text)
{
    std::string result;
    for (const char c : text) {
        result += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return result;
}

// Names of columns with commas between them. False if one is none, or is there twice.
bool read_columns(std::string_view text, std::vector<usage_column>& to)
{
    while (true) {
        const size_t comma = text.find(',');
        const auto found = std::find_if(std::begin(columns), std::end(columns), [&](const auto& each) {
            return each.first == text.substr(0, comma);
        });
        if (found == std::end(columns) || std::find(to.begin(), to.end(), found->second) != to.end()) {
            return false;
        }
        to.push_back(found->second);
        if (comma == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(comma + 1);
    }
}

std::optional<std::string> find_state(const arguments& given, output& out)
{
    if (const auto file = given.value("--state")) {
        return std::string(*file);
    }
    const char* file = getenv("LLM_STATE");
    if (file && *file) {
        return file;
    }
    lazy_nginx_conf conf;
    const nginx_conf* found = conf.get();
    const std::vector<std::string> files = found ? state_files_of(*found) : std::vector<std::string>();
    if (files.size() > 1) {
        std::string text = "nginx's configuration has several state files: choose one with --state:";
        for (const std::string& each : files) {
            text += " " + each;
        }
        out.fail(text);
        return std::nullopt;
    }
    return files.empty() ? default_state : files[0];
}

usage_sums sum_of(const std::vector<usage_row>& rows)
{
    usage_sums sum;
    for (const usage_row& row : rows) {
        for (const sum_column& column : sum_columns) {
            sum.*column.at += row.sums.*column.at;
        }
    }
    return sum;
}

// As RFC 4180 has it.
std::string csv_quoted(const std::string& text)
{
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
        return text;
    }
    std::string quoted = "\"";
    for (const char c : text) {
        quoted += c == '"' ? "\"\"" : std::string(1, c);
    }
    return quoted + '"';
}

std::string csv_text(const usage_query& query, const std::vector<usage_row>& rows)
{
    std::string text;
    for (const usage_column column : query.by) {
        text += std::string(name_of(column)) + ",";
    }
    for (const sum_column& column : sum_columns) {
        text += std::string(column.name) + (&column == std::end(sum_columns) - 1 ? "\r\n" : ",");
    }
    for (const usage_row& row : rows) {
        for (const std::string& name : row.names) {
            text += csv_quoted(name) + ",";
        }
        for (const sum_column& column : sum_columns) {
            text +=
                std::to_string(row.sums.*column.at) + (&column == std::end(sum_columns) - 1 ? "\r\n" : ",");
        }
    }
    return text;
}

void write_sums(const usage_sums& sums, json_text_writer& json)
{
    for (const sum_column& column : sum_columns) {
        json.field(column.name, sums.*column.at);
    }
}

std::string json_text(const usage_query& query, const std::vector<usage_row>& rows)
{
    std::string text;
    json_text_writer json(text);
    json.begin_object();
    json.name("rows");
    json.begin_array();
    for (const usage_row& row : rows) {
        json.begin_object();
        for (size_t i = 0; i < query.by.size(); i++) {
            json.field(name_of(query.by[i]), std::string_view(row.names[i]));
        }
        write_sums(row.sums, json);
        json.end_object();
    }
    json.end_array();
    json.name("sum");
    json.begin_object();
    write_sums(sum_of(rows), json);
    json.end_object();
    json.end_object();
    return text + "\n";
}

std::string table_text(const usage_query& query, const std::vector<usage_row>& rows)
{
    std::vector<std::string> titles;
    for (const usage_column column : query.by) {
        titles.push_back(upper(name_of(column)));
    }
    std::vector<text_table::column> shown;
    for (const std::string& title : titles) {
        shown.push_back({title, false});
    }
    for (const sum_column& column : sum_columns) {
        shown.push_back({column.title, true});
    }
    text_table table(shown);
    const auto add = [&](std::vector<std::string> cells, const usage_sums& sums) {
        for (const sum_column& column : sum_columns) {
            cells.push_back(grouped(sums.*column.at));
        }
        table.add(cells);
    };
    for (const usage_row& row : rows) {
        add(row.names, row.sums);
    }
    table.rule();
    std::vector<std::string> sum(titles.size());
    sum[0] = "sum";
    add(sum, sum_of(rows));
    return table.text();
}

} // namespace

std::optional<int64_t> usage_time(std::string_view text, bool is_end, int64_t now)
{
    if (text.size() >= 2 && text.size() <= 6 && (text.back() == 'd' || text.back() == 'h')
        && std::all_of(text.begin(), text.end() - 1, is_digit)) {
        return now - strtoll(std::string(text).c_str(), nullptr, 10) * (text.back() == 'd' ? 86400 : 3600);
    }
    const bool is_month = text.size() == 7 && text[4] == '-';
    const bool is_day = text.size() == 10 && text[4] == '-' && text[7] == '-';
    if (!is_month && !is_day) {
        return parse_time(text);
    }
    const auto begin = parse_time(std::string(text) + (is_month ? "-01" : "") + "T00:00:00Z");
    if (!begin || !is_end) {
        return begin;
    }
    if (is_day) {
        return *begin + 86400;
    }
    // The first day of the next month is one of the four that follow the 28th.
    for (int64_t day = 28; day < 32; day++) {
        const time_t at = *begin + day * 86400;
        tm parts{};
        if (gmtime_r(&at, &parts) && parts.tm_mday == 1) {
            return at;
        }
    }
    return std::nullopt;
}

int run_usage(const arguments& given, output& out)
{
    usage_query query;
    for (const auto& [option, to] : {std::pair("--from", &query.from), std::pair("--to", &query.to)}) {
        if (const auto text = given.value(option)) {
            const auto time_of = usage_time(*text, to == &query.to, time(nullptr));
            if (!time_of) {
                return out.fail(std::string(option) + ": " + std::string(*text)
                                + " is no time such as 2026-11, 2026-11-30 or 7d");
            }
            *to = *time_of;
        }
    }
    if (!read_columns(given.value("--by").value_or("key"), query.by)) {
        return out.fail("--by: expected some of key,user,model,day");
    }
    if (given.has("--csv") && out.json()) {
        return out.fail("--csv and --json: expected one of both");
    }
    const auto path = find_state(given, out);
    if (!path) {
        return exit_failed;
    }
    std::vector<usage_row> rows;
    if (const auto error = read_usage(*path, query, rows)) {
        return out.fail(*path + ": " + *error);
    }
    out.put(out.json()           ? json_text(query, rows)
            : given.has("--csv") ? csv_text(query, rows)
                                 : table_text(query, rows));
    return exit_well;
}

} // namespace llm::ctl
