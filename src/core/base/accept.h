// What a client's Accept headers say of a media type.
#pragma once

#include "bytes.h"
#include "chars.h"

#include <algorithm>
#include <string_view>

namespace llm {

// Of several ranges that fit the type the most exact one counts, and the highest quality among equals.
// Parameters other than `q` are passed over, and so is a range that is not well formed.
class accept_match {
public:
    // In lower case, and outliving this.
    explicit constexpr accept_match(std::string_view type) : type_(type) {}

    // Each of the request's Accept headers, in any order.
    constexpr void add(std::string_view header)
    {
        seen_ = true;
        while (!header.empty()) {
            add_range(take(header, ','));
        }
    }

    // In thousandths. Who sends no such header takes anything.
    constexpr unsigned quality() const { return seen_ ? quality_ : 1000; }

private:
    static constexpr std::string_view trim(std::string_view text)
    {
        while (!text.empty() && is_blank(text.front())) {
            text.remove_prefix(1);
        }
        while (!text.empty() && is_blank(text.back())) {
            text.remove_suffix(1);
        }
        return text;
    }

    // What is before the next `mark` outside quotes; `text` then begins behind it.
    static constexpr std::string_view take(std::string_view& text, char mark)
    {
        bool quoted = false;
        for (size_t i = 0; i < text.size(); i++) {
            if (text[i] == '"') {
                quoted = !quoted;
            } else if (text[i] == '\\' && quoted) {
                i++;
            } else if (text[i] == mark && !quoted) {
                std::string_view taken = text.substr(0, i);
                text.remove_prefix(i + 1);
                return taken;
            }
        }
        std::string_view taken = text;
        text = {};
        return taken;
    }

    static constexpr bool same(std::string_view text, std::string_view lower)
    {
        return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                          [](char a, char b) { return ascii_lower(a) == b; });
    }

    // How exactly a range fits; 0 if it does not.
    constexpr int fit(std::string_view range) const
    {
        if (same(range, type_)) {
            return 3;
        }
        if (range == "*/*") {
            return 1;
        }
        const size_t slash = type_.find('/');
        return range.ends_with("/*") && same(range.substr(0, range.size() - 1), type_.substr(0, slash + 1))
                   ? 2
                   : 0;
    }

    // In thousandths; -1 if it is no quality.
    static constexpr int parse_quality(std::string_view text)
    {
        if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) {
            return -1;
        }
        int value = (text[0] - '0') * 1000;
        if (text.size() > 1 && text[1] != '.') {
            return -1;
        }
        int weight = 100;
        for (size_t i = 2; i < text.size(); i++, weight /= 10) {
            if (!is_digit(text[i])) {
                return -1;
            }
            value += (text[i] - '0') * weight;
        }
        return value <= 1000 ? value : -1;
    }

    constexpr void add_range(std::string_view text)
    {
        const int exact = fit(trim(take(text, ';')));
        int quality = 1000;
        while (!text.empty()) {
            std::string_view parameter = trim(take(text, ';'));
            if (parameter.size() >= 2 && ascii_lower(parameter[0]) == 'q' && parameter[1] == '=') {
                quality = parse_quality(parameter.substr(2));
            }
        }
        if (exact == 0 || quality < 0 || exact < exact_) {
            return;
        }
        quality_ = static_cast<unsigned>(exact > exact_ ? quality
                                                        : std::max<int>(quality, static_cast<int>(quality_)));
        exact_ = exact;
    }

    std::string_view type_;
    int exact_ = 0;
    unsigned quality_ = 0;
    bool seen_ = false;
};

} // namespace llm
