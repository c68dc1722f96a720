#include "api.h"

#include "api_table.h"
#include "core/base/bytes.h"
#include "path_model.h"

#include <algorithm>

namespace llm {

namespace {

// Most requests are for this one.
constexpr std::string_view usual_target = "/v1/chat/completions";
constexpr api_call usual_call = {.speaks = api::openai,
                                 .bounds = bound_name::max_tokens | bound_name::max_completion_tokens,
                                 .bound_to_give = bound_name::max_tokens,
                                 .takes_stream_options = true,
                                 .needs_model = model_need::to_make};

constexpr std::string_view ends = ";?#";

// Without what some servers pass over at the end of a path: parameters of its last segment, an escaped "?" or
// "#" and what follows it, blanks and slashes.
std::string_view cut_end(std::string_view path)
{
    for (size_t size = path.size() + 1; path.size() < size;) {
        size = path.size();
        path = path.substr(0, path.find_first_of(ends, path.rfind('/') + 1));
        while (path.size() > 1 && (path.back() == ' ' || path.back() == '/')) {
            path.remove_suffix(1);
        }
    }
    return path;
}

// A path in small letters, as some servers take any case.
class small_path {
public:
    explicit small_path(std::string_view path) : text_(path)
    {
        const auto is_capital = [](char c) { return ascii_lower(c) != c; };
        const auto first = std::find_if(path.begin(), path.end(), is_capital);
        if (first == path.end()) {
            return;
        }
        is_clear_ = path.size() <= sizeof room_;
        if (is_clear_) {
            std::transform(path.begin(), path.end(), room_, ascii_lower);
            text_ = {room_, path.size()};
        }
    }
    small_path(const small_path&) = delete;
    small_path& operator=(const small_path&) = delete;

    std::string_view text() const { return text_; }
    // Too long to be looked at in any case.
    bool is_clear() const { return is_clear_; }

private:
    std::string_view text_;
    bool is_clear_ = true;
    char room_[2048]; // where there are capitals
};

api api_of_small(std::string_view path)
{
    for (size_t i = 0; i < api_rows().size(); ++i) {
        const api_row& row = api_rows()[i];
        if (row.owns != nullptr && row.owns(path)) {
            return static_cast<api>(i);
        }
    }
    return api::openai;
}

api_call read_path(std::string_view path)
{
    api_call call = row_of(api_of_small(path)).read_path(path);
    if (call.model.empty()) {
        const path_model found = model_in_path(path);
        call.model = found.name;
        call.unclear_model = found.unclear;
        call.model_to_make = found.to_make;
        call.streams = call.streams || found.streams;
    }
    return call;
}

} // namespace

api api_of_path(std::string_view target)
{
    if (target == usual_target) {
        return api::openai;
    }
    return api_of_small(small_path(target.substr(0, target.find_first_of("?#"))).text());
}

api_call call_of_path(std::string_view path)
{
    if (path == usual_target) {
        return usual_call;
    }
    const small_path small(path);
    const std::string_view cut = cut_end(small.text());
    api_call call = read_path(cut);
    if (cut.size() != path.size()) {
        const api_call uncut = read_path(small.text());
        call.is_whole = uncut.model.empty() || uncut.model == call.model
                        || (uncut.model_to_make && !call.model_to_make && !call.model.empty());
    }
    const bool is_cut_before =
        cut.substr(0, cut.rfind('/') + 1).find_first_of(ends) != std::string_view::npos;
    call.is_whole = call.is_whole && small.is_clear() && !is_cut_before;
    if (!call.model.empty()) {
        call.model =
            path.substr(static_cast<size_t>(call.model.data() - small.text().data()), call.model.size());
    }
    return call;
}

std::string_view last_segment(std::string_view path)
{
    path = cut_end(path.substr(0, path.find_first_of("?#")));
    return path.substr(path.rfind('/') + 1);
}

} // namespace llm
