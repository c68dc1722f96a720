#include "top_frame.h"

#include "display_text.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>

namespace llm::ctl {

namespace {

constexpr size_t seconds_of_mean = 10;

std::string text_of(const json_t* of, const char* name)
{
    const json_t* const value = json_object_get(of, name);
    return value && json_is_string(value) ? printable({json_string_value(value), json_string_length(value)})
                                          : "";
}

uint64_t number_of(const json_t* of, const char* name)
{
    const json_int_t n = json_integer_value(json_object_get(of, name));
    return n > 0 ? static_cast<uint64_t>(n) : 0;
}

std::string formatted(const char* format, double value)
{
    char text[64];
    snprintf(text, sizeof text, format, value);
    return text;
}

// Four digits at most: "950", "1.2k", "34k", "5.6m".
std::string compact(uint64_t n)
{
    static constexpr struct {
        double unit;
        const char* name;
    } units[] = {{1e12, "t"}, {1e9, "g"}, {1e6, "m"}, {1e3, "k"}};
    for (const auto& u : units) {
        if (const double in = static_cast<double>(n) / u.unit; in >= 1) {
            return formatted(in < 9.95 ? "%.1f" : "%.0f", in) + u.name;
        }
    }
    return std::to_string(n);
}

std::string age_text(uint64_t ms)
{
    const uint64_t s = ms / 1000;
    return s < 10     ? formatted("%.1fs", static_cast<double>(ms) / 1000)
           : s < 120  ? std::to_string(s) + "s"
           : s < 7200 ? std::to_string(s / 60) + "m"
                      : std::to_string(s / 3600) + "h";
}

struct column {
    std::string_view title;
    size_t width; // least; what is left over is given to those that grow, in equal parts
    bool is_number = false;
    bool grows = false;
};

class table {
public:
    table(std::span<const column> columns, size_t width) : columns_(columns.begin(), columns.end())
    {
        size_t used = 0, growing = 0;
        for (const column& c : columns_) {
            used += c.width + 1;
            growing += c.grows;
        }
        const size_t more = width + 1 > used && growing ? (width + 1 - used) / growing : 0;
        for (column& c : columns_) {
            c.width += c.grows ? more : 0;
        }
        width_ = width;
    }

    std::string line(const std::vector<std::string>& cells) const
    {
        std::string text;
        for (size_t i = 0; i < columns_.size(); i++) {
            const column& c = columns_[i];
            const std::string cell = display_cut(cells[i], c.width);
            const std::string blanks(c.width - std::min(c.width, display_width(cell)), ' ');
            text += i ? " " : "";
            text += c.is_number ? blanks + cell : cell + blanks;
        }
        text.erase(text.find_last_not_of(' ') + 1);
        return display_cut(text, width_);
    }
    std::string titles() const
    {
        std::vector<std::string> cells;
        for (const column& c : columns_) {
            cells.emplace_back(c.title);
        }
        return line(cells);
    }

private:
    std::vector<column> columns_;
    size_t width_;
};

std::string head_line(const json_t* requests, const json_t* keys)
{
    const uint64_t now = number_of(requests, "now_ms") / 1000;
    uint64_t ended = 0, tokens = 0, refused = 0;
    size_t i;
    json_t* each;
    json_array_foreach(json_object_get(requests, "rates"), i, each)
    {
        const uint64_t second = number_of(each, "second");
        // The present second is not over yet.
        if (second < now && second + seconds_of_mean >= now) {
            ended += number_of(each, "requests");
            refused += number_of(each, "refused");
            tokens += number_of(each, "completion_tokens");
        }
    }
    const auto mean = [](uint64_t n) {
        return formatted("%.1f", static_cast<double>(n) / static_cast<double>(seconds_of_mean));
    };
    return mean(ended) + " requests/s  " + mean(tokens) + " tokens/s  " + mean(refused) + " refused/s  "
           + std::to_string(json_array_size(json_object_get(requests, "requests"))) + " running  "
           + std::to_string(number_of(keys, "matched")) + " keys";
}

// The limit of which the least is left, in parts of it.
std::string left_of(const json_t* key)
{
    std::string text;
    double least = 2;
    size_t i;
    json_t* each;
    json_array_foreach(json_object_get(key, "limits"), i, each)
    {
        const uint64_t most = number_of(each, "maximum"), left = number_of(each, "remaining");
        const double part = most ? static_cast<double>(left) / static_cast<double>(most) : 0;
        if (part < least) {
            least = part;
            const std::string period = text_of(each, "period");
            text = compact(left) + '/' + compact(most) + ' ' + text_of(each, "limit")
                   + (period.empty() ? "" : " " + period);
        }
    }
    return text;
}

void put_requests(std::vector<std::string>& lines, const json_t* requests, size_t columns, size_t rows)
{
    static constexpr column of[] = {{"SERIAL", 8, true},       {"KEY", 10, false, true},
                                    {"USER", 6, false, true},  {"MODEL", 10, false, true},
                                    {"PEER", 15, false, true}, {"TOKENS", 6, true},
                                    {"AGE", 5, true},          {"TTFT", 5, true}};
    const table as(of, columns);
    lines.push_back(as.titles());
    std::vector<const json_t*> all;
    size_t i;
    json_t* each;
    json_array_foreach(json_object_get(requests, "requests"), i, each)
    {
        all.push_back(each);
    }
    std::stable_sort(all.begin(), all.end(), [](const json_t* a, const json_t* b) {
        return number_of(a, "age_ms") > number_of(b, "age_ms");
    });
    for (const json_t* r : std::span(all).first(std::min(all.size(), rows))) {
        const bool has_first = json_is_integer(json_object_get(r, "time_to_first_token_ms"));
        lines.push_back(as.line({std::to_string(number_of(r, "serial")), text_of(r, "key"),
                                 text_of(r, "user"), text_of(r, "model"), text_of(r, "peer"),
                                 compact(number_of(r, "prompt_tokens") + number_of(r, "completion_tokens")),
                                 age_text(number_of(r, "age_ms")),
                                 has_first ? age_text(number_of(r, "time_to_first_token_ms")) : "-"}));
    }
}

void put_keys(std::vector<std::string>& lines, const json_t* keys, size_t columns, size_t rows)
{
    static constexpr column of[] = {{"KEY", 12, false, true}, {"USER", 8, false, true}, {"RUNS", 5, true},
                                    {"REQUESTS", 8, true},    {"TOKENS", 6, true},      {"REFUSED", 7, true},
                                    {"LEFT", 20, false, true}};
    const table as(of, columns);
    lines.push_back(as.titles());
    size_t i;
    json_t* k;
    json_array_foreach(json_object_get(keys, "keys"), i, k)
    {
        if (i == rows) {
            break;
        }
        const bool blocked = json_is_true(json_object_get(k, "blocked"));
        const bool disabled = json_is_false(json_object_get(k, "enabled"));
        lines.push_back(as.line({text_of(k, "name"), text_of(k, "user"), compact(number_of(k, "in_flight")),
                                 compact(number_of(k, "requests")), compact(number_of(k, "total_tokens")),
                                 compact(number_of(k, "refused")),
                                 blocked    ? "BLOCKED"
                                 : disabled ? "disabled"
                                            : left_of(k)}));
    }
}

} // namespace

std::vector<std::string> top_frame(const json_t* requests, const json_t* keys, size_t columns, size_t rows)
{
    std::vector<std::string> lines{display_cut(head_line(requests, keys), columns), ""};
    const size_t running = json_array_size(json_object_get(requests, "requests"));
    const size_t known = json_array_size(json_object_get(keys, "keys"));
    // Two titles and a line between; each part has what the other leaves, and half at least.
    const size_t room = rows - std::min(rows, lines.size() + 3);
    const size_t for_keys = std::min(known, std::max(room / 2, room - std::min(room, running)));
    put_requests(lines, requests, columns, room - std::min(room, for_keys));
    lines.emplace_back();
    put_keys(lines, keys, columns, for_keys);
    lines.resize(std::min(lines.size(), rows));
    return lines;
}

} // namespace llm::ctl
