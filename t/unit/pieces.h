// Feeds a text in several ways to a fresh reader each time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// Calls `run` with the text whole, in single bytes, and in two pieces cut at every place. Of a long text, the
// cuts are some hundred, more at its ends.
template <typename Run>
void every_way(std::string_view text, Run&& run)
{
    run(std::vector<std::string_view>{text});
    std::vector<std::string_view> bytes;
    for (size_t i = 0; i < text.size(); ++i)
        bytes.push_back(text.substr(i, 1));
    run(bytes);
    const size_t step = text.size() < 2000 ? 1 : text.size() / 200;
    for (size_t cut = 1; cut < text.size(); cut += cut < 100 || text.size() - cut <= 100 ? 1
                                                   : step < text.size() - cut - 99       ? step
                                                                                   : text.size() - cut - 99)
        run(std::vector<std::string_view>{text.substr(0, cut), text.substr(cut)});
}

inline std::string repeated(size_t times, std::string_view text)
{
    std::string all;
    for (size_t i = 0; i < times; ++i)
        all += text;
    return all;
}
