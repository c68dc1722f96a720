#include "request_facts.h"

#include "core/base/bytes.h"
#include "core/base/chars.h"
#include "core/json/json_count.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace llm {

namespace {

namespace path {
enum : uint8_t {
    root,
    model,
    stream,
    stream_options,
    max_tokens,
    max_completion_tokens,
    max_output_tokens,
    n_predict,
    n,
    best_of,
    n_cmpl,
    prompt,
    options,
    parameters,
    sampling_params,
    generation_config,
    generation_config_too,
    include_usage,
    continuous_usage_stats,
    prompt_element,
    num_predict,
    parameters_max_new_tokens,
    parameters_best_of,
    sampling_max_new_tokens,
    sampling_n,
    config_max_tokens,
    config_max_tokens_too,
    config_candidates,
    config_candidates_too,
    config_too_max_tokens,
    config_too_max_tokens_too,
    config_too_candidates,
    config_too_candidates_too,
    count,
};
} // namespace path

constexpr auto paths = json_paths<path::count>({{
    {""},
    {"model", path::root, json_text::pieces, true},
    {"stream", path::root, json_text::bounded, true},
    {"stream_options", path::root, json_text::none, true},
    {"max_tokens", path::root, json_text::bounded},
    {"max_completion_tokens", path::root, json_text::bounded},
    {"max_output_tokens", path::root, json_text::bounded},
    {"n_predict", path::root, json_text::bounded},
    {"n", path::root, json_text::bounded},
    {"best_of", path::root, json_text::bounded},
    {"n_cmpl", path::root, json_text::bounded},
    {"prompt", path::root},
    {"options", path::root},
    {"parameters", path::root},
    {"sampling_params", path::root},
    // Gemini's, whose every field has two spellings.
    {"generationConfig", path::root},
    {"generation_config", path::root},
    {"include_usage", path::stream_options, json_text::bounded, true},
    {"continuous_usage_stats", path::stream_options, json_text::bounded, true},
    {json_elements, path::prompt},
    {"num_predict", path::options, json_text::bounded},
    {"max_new_tokens", path::parameters, json_text::bounded},
    {"best_of", path::parameters, json_text::bounded},
    {"max_new_tokens", path::sampling_params, json_text::bounded},
    {"n", path::sampling_params, json_text::bounded},
    {"maxOutputTokens", path::generation_config, json_text::bounded},
    {"max_output_tokens", path::generation_config, json_text::bounded},
    {"candidateCount", path::generation_config, json_text::bounded},
    {"candidate_count", path::generation_config, json_text::bounded},
    {"maxOutputTokens", path::generation_config_too, json_text::bounded},
    {"max_output_tokens", path::generation_config_too, json_text::bounded},
    {"candidateCount", path::generation_config_too, json_text::bounded},
    {"candidate_count", path::generation_config_too, json_text::bounded},
}});

static_assert(path::count <= 64, "request_facts::seen_ has a bit per path");

// Far above any real bound, and sums and products of it with other counts stay far below UINT64_MAX.
constexpr uint64_t max_bound = uint64_t{1} << 40;

std::string_view trimmed(std::string_view text)
{
    constexpr std::string_view spaces = " \t\n\r\v\f";
    const size_t from = text.find_first_not_of(spaces);
    return from == std::string_view::npos ? std::string_view()
                                          : text.substr(from, text.find_last_not_of(spaces) - from + 1);
}

// The count that pydantic's lax mode reads: a whole number, its text in a string, or a bool. False for all
// else.
bool lax_count(const json_event& event, uint64_t& count)
{
    switch (event.type) {
    case json_type::number:
        return !event.truncated && json_count(event.text, max_bound, count);
    case json_type::string: {
        std::string_view text = event.text;
        text = trimmed(text);
        if (text.starts_with('+')) {
            text.remove_prefix(1);
        }
        return !event.truncated && json_count(text, max_bound, count);
    }
    case json_type::yes:
    case json_type::no:
        count = event.type == json_type::yes ? 1 : 0;
        return true;
    default:
        return false;
    }
}

bool is_word(std::string_view text, std::string_view lowcase)
{
    return text.size() == lowcase.size()
           && std::equal(text.begin(), text.end(), lowcase.begin(),
                         [](char a, char b) { return ascii_lower(a) == b; });
}

// The words are those of pydantic's lax mode.
request_flag flag_of_word(std::string_view text)
{
    for (const std::string_view word : {"0", "f", "n", "no", "off", "false"}) {
        if (is_word(text, word)) {
            return request_flag::no;
        }
    }
    for (const std::string_view word : {"1", "t", "y", "on", "yes", "true"}) {
        if (is_word(text, word)) {
            return request_flag::yes;
        }
    }
    return request_flag::unclear;
}

request_flag flag_of(const json_event& event)
{
    if (event.is == json_event::what::open || event.truncated) {
        return request_flag::unclear;
    }
    switch (event.type) {
    case json_type::null:
    case json_type::no:
        return request_flag::no;
    case json_type::yes:
        return request_flag::yes;
    case json_type::string:
        return flag_of_word(event.text);
    default:
        break;
    }
    // 1e-9 is not 0, yet no count either.
    uint64_t count = 0;
    if (!json_count(event.text, max_bound, count) || count > 1) {
        return request_flag::unclear;
    }
    return count == 1 ? request_flag::yes : request_flag::no;
}

} // namespace

struct request_facts::feeding {
    request_facts& self;
    std::string_view piece;
    uint64_t begin; // its offset in the body
};

bool request_facts::feed(std::string_view piece)
{
    feeding now{*this, piece, bytes_};
    bytes_ += piece.size();
    if (fault_ != body_fault::none) {
        return false;
    }

    if (first_ == '\0') {
        size_t first = 0;
        while (first < piece.size() && is_space(piece[first])) {
            ++first;
        }
        if (first == piece.size()) {
            return true;
        }
        first_ = piece[first];
        if (first_ != '{') {
            set_fault(body_fault::not_an_object);
            return false;
        }
        scanner_.seek(now.begin);
        scanner_.be_strict();
    }

    // What is wrong first is told, wherever pieces end.
    const size_t text = utf8_.feed(piece);
    const size_t taken = scanner_.feed(piece.substr(0, text), paths.data(), {take, &now});
    if (wants_comma_) {
        find_options_comma(now);
    }
    if (scanner_.error() == json_error::too_deep) {
        set_fault(body_fault::too_deep);
    } else if (taken != text) {
        set_fault(body_fault::syntax);
    } else if (text != piece.size()) {
        set_fault(body_fault::not_utf8);
    }
    return fault_ == body_fault::none;
}

body_fault request_facts::finish()
{
    if (first_ == '\0') {
        set_fault(body_fault::not_an_object);
    } else if (scanner_.state() != json_scanner::status::complete) {
        set_fault(body_fault::syntax);
    }
    return fault_;
}

void request_facts::take(void* now, const json_event& event)
{
    static_cast<const feeding*>(now)->self.on(event);
}

void request_facts::on(const json_event& event)
{
    // The rest of the piece in which the fault was found is scanned, and says nothing any more.
    if (fault_ != body_fault::none) {
        return;
    }
    if (event.is == json_event::what::close) {
        on_close(event);
        return;
    }
    if (event.folded) {
        set_fault(body_fault::ambiguous_name);
        return;
    }
    if (event.is != json_event::what::text && event.path != path::prompt_element && seen_twice(event.path)) {
        set_fault(body_fault::duplicate_field);
        return;
    }

    switch (event.path) {
    case path::model:
        on_model(event);
        break;
    case path::stream:
        stream_ = flag_of(event);
        break;
    case path::stream_options:
        on_stream_options(event);
        break;
    case path::include_usage:
        options_.include_usage = flag_of(event);
        options_.include_usage_begin = event.value_begin;
        options_.include_usage_end = event.value_end;
        break;
    case path::continuous_usage_stats:
        options_.continuous_usage_stats = flag_of(event);
        options_.continuous_begin = event.value_begin;
        options_.continuous_end = event.value_end;
        break;
    case path::n:
    case path::best_of:
    case path::n_cmpl:
    case path::parameters_best_of:
    case path::sampling_n:
    case path::config_candidates:
    case path::config_candidates_too:
    case path::config_too_candidates:
    case path::config_too_candidates_too:
        on_choices(event);
        break;
    case path::prompt_element:
        // Numbers are the tokens of one prompt.
        if (event.type == json_type::string || event.type == json_type::array) {
            ++prompts_;
        }
        break;
    case path::root:
    case path::prompt:
    case path::options:
    case path::parameters:
    case path::sampling_params:
    case path::generation_config:
    case path::generation_config_too:
        break;
    case path::max_tokens:
        on_bound(event, bound_name::max_tokens);
        break;
    case path::max_completion_tokens:
        on_bound(event, bound_name::max_completion_tokens);
        break;
    case path::max_output_tokens:
        on_bound(event, bound_name::max_output_tokens);
        break;
    case path::n_predict:
        on_bound(event, bound_name::n_predict);
        break;
    case path::num_predict:
        on_bound(event, bound_name::num_predict);
        break;
    case path::parameters_max_new_tokens:
        on_bound(event, bound_name::parameters_max_new_tokens);
        break;
    case path::sampling_max_new_tokens:
        on_bound(event, bound_name::sampling_max_new_tokens);
        break;
    case path::config_max_tokens:
    case path::config_max_tokens_too:
    case path::config_too_max_tokens:
    case path::config_too_max_tokens_too:
        on_bound(event, bound_name::max_output_tokens_of_config);
        break;
    }
}

void request_facts::on_close(const json_event& event)
{
    if (event.path == path::root) {
        root_end_ = event.value_end - 1;
    } else if (in_options_ && event.path == path::stream_options) {
        in_options_ = false;
        options_.empty = event.index == 0;
        options_.value_end = options_.end = event.value_end;
    }
}

void request_facts::on_stream_options(const json_event& event)
{
    using state = stream_options_member::state;
    options_.is = event.type == json_type::null     ? state::null
                  : event.type == json_type::object ? state::object
                                                    : state::other;
    // The comma that goes with a member is the one before it, or after it where it stands first.
    wants_comma_ = event.index == 0;
    options_.begin = wants_comma_ ? event.key_begin : event.comma;
    options_.value_end = options_.end = event.value_end;
    options_.value_begin = event.value_begin;
    in_options_ = options_.is == state::object;
}

// The first byte after the member that is not white space.
void request_facts::find_options_comma(const feeding& now)
{
    if (in_options_ || options_.end == 0) {
        return;
    }
    for (uint64_t at = std::max(options_.end, now.begin); at < bytes_; ++at) {
        const char c = now.piece[at - now.begin];
        if (!is_space(c)) {
            options_.end = c == ',' ? at + 1 : options_.end;
            wants_comma_ = false;
            return;
        }
    }
}

void request_facts::on_model(const json_event& event)
{
    if (event.type == json_type::null) {
        return;
    }
    if (event.type != json_type::string || event.text.size() > max_model - model_size_) {
        set_fault(body_fault::bad_model);
        return;
    }
    std::memcpy(model_ + model_size_, event.text.data(), event.text.size());
    model_size_ = static_cast<uint16_t>(model_size_ + event.text.size());
    has_model_ = true;
}

void request_facts::on_bound(const json_event& event, bound_names name)
{
    if (event.type == json_type::null) {
        return;
    }
    request_bound& bound = bounds_[std::countr_zero(name)];
    const bool is_clear = lax_count(event, bound.value);
    bound.is = is_clear ? request_bound::state::value : request_bound::state::unbounded;
}

request_bound request_facts::max_tokens(bound_names names) const
{
    request_bound largest;
    for (; names != 0; names &= static_cast<bound_names>(names - 1)) {
        const request_bound& bound = bounds_[std::countr_zero(names)];
        if (bound.is == request_bound::state::unbounded) {
            return {request_bound::state::unbounded, 0};
        }
        if (bound.is == request_bound::state::value) {
            largest = {request_bound::state::value, std::max(largest.value, bound.value)};
        }
    }
    return largest;
}

void request_facts::on_choices(const json_event& event)
{
    if (event.type == json_type::null) {
        return;
    }
    uint64_t count = 0;
    if (!lax_count(event, count)) {
        count = unclear_choices;
    }
    if (count > UINT32_MAX) {
        count = UINT32_MAX;
    }
    if (count > choices_) {
        choices_ = static_cast<uint32_t>(count);
    }
}

bool request_facts::seen_twice(uint8_t path)
{
    const uint64_t bit = uint64_t{1} << path;
    const bool before = (seen_ & bit) != 0;
    seen_ |= bit;
    return before;
}

void request_facts::set_fault(body_fault fault)
{
    if (fault_ == body_fault::none) {
        fault_ = fault;
    }
}

} // namespace llm
