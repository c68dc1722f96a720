#include "request_facts.h"

#include "core/base/chars.h"
#include "request_paths.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace llm {

namespace {

static_assert(request_path_lists<true, true>.onces <= 64, "request_facts::seen_ has a bit for each");

// Of a member of the root, where these are told.
bool is_of_root(const json_event& event)
{
    const json_path& root = request_paths<true>.paths[0];
    return event.is != json_event::what::text && event.path - root.first_child < root.children
           && event.path >= root.first_child;
}

// False where no array can be in another one, as there is one at most.
bool has_nested_arrays(std::string_view body)
{
    const size_t first = body.find('[');
    return first != std::string_view::npos && body.find('[', first + 1) != std::string_view::npos;
}

} // namespace

struct request_facts::feeding {
    request_facts& self;
    std::string_view piece;
    uint64_t begin;            // its offset in the body
    const request_path* parts; // by path
};

bool request_facts::feed(std::string_view piece)
{
    return members_.wanted() ? feed_with(piece, request_paths<true>) : feed_with(piece, request_paths<false>);
}

bool request_facts::feed_whole(std::string_view body)
{
    if (members_.wanted() || has_nested_arrays(body)) {
        return feed(body);
    }
    return feed_with(body, request_paths<false, false>);
}

bool request_facts::feed(std::string_view piece, const json_path* paths, const request_path* parts)
{
    feeding now{*this, piece, bytes_, parts};
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
    const size_t taken = scanner_.feed(piece.substr(0, text), paths, {take, &now});
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
    const auto& feeding = *static_cast<const request_facts::feeding*>(now);
    feeding.self.on(event, feeding.parts[event.path]);
}

void request_facts::on(const json_event& event, const request_path& path)
{
    // The rest of the piece in which the fault was found is scanned, and says nothing any more.
    if (fault_ != body_fault::none) {
        return;
    }
    if (members_.wanted() && is_of_root(event)) {
        members_.take(event);
    }
    if (event.is == json_event::what::close) {
        on_close(event, path);
        return;
    }
    if (path.once != 0) {
        if (event.folded) {
            set_fault(body_fault::ambiguous_name);
            return;
        }
        if (event.is != json_event::what::text && seen_twice(path.once)) {
            set_fault(body_fault::duplicate_field);
            return;
        }
    }

    switch (path.is) {
    case request_part::root:
    case request_part::other:
        break;
    case request_part::model:
        on_model(event);
        break;
    case request_part::stream:
        stream_ = flag_of(event);
        break;
    case request_part::stream_options:
        on_stream_options(event);
        break;
    case request_part::include_usage:
        options_.include_usage = flag_of(event);
        options_.include_usage_begin = event.value_begin;
        options_.include_usage_end = event.value_end;
        break;
    case request_part::continuous_usage:
        options_.continuous_usage_stats = flag_of(event);
        options_.continuous_begin = event.value_begin;
        options_.continuous_end = event.value_end;
        break;
    case request_part::bound:
        on_bound(event, path.bound);
        break;
    case request_part::choices:
        on_choices(event);
        break;
    case request_part::reply_fields:
        names_fields_ = names_fields_ || event.type != json_type::null;
        break;
    case request_part::prompt_element:
        // Numbers are the tokens of one prompt.
        if (event.type == json_type::string || event.type == json_type::array) {
            ++prompts_;
        }
        break;
    case request_part::model_list:
        on_list(event);
        break;
    case request_part::model_or_schema:
        if (event.type == json_type::object) {
            break;
        }
        [[fallthrough]];
    case request_part::model_or_list:
        if (event.type == json_type::string) {
            on_listed(event);
        } else {
            on_list(event);
        }
        break;
    case request_part::model_map:
        unclear_list_ = unclear_list_ || (event.type != json_type::object && event.type != json_type::null);
        break;
    case request_part::named:
        on_named(event, path.names);
        break;
    case request_part::listed_model:
        on_listed(event);
        break;
    case request_part::adapter:
        if (event.type != json_type::null) {
            adapter_named_ = true;
            on_listed(event);
        }
        break;
    case request_part::adapters:
        on_adapters(event);
        break;
    case request_part::listed_adapter:
        if (event.type == json_type::object) {
            adapter_named_ = false;
        } else {
            on_listed(event);
        }
        break;
    case request_part::unnamed_model:
        unclear_list_ = unclear_list_ || event.type != json_type::null;
        break;
    default:
        media_.take(event, path.is);
        break;
    }
}

void request_facts::on_close(const json_event& event, const request_path& path)
{
    if (path.is == request_part::root) {
        root_end_ = event.value_end - 1;
        empty_ = event.index == 0;
    } else if (path.is == request_part::stream_options) {
        in_options_ = false;
        options_.empty = event.index == 0;
        options_.value_end = options_.end = event.value_end;
    } else if (path.is == request_part::listed_adapter) {
        unclear_list_ = unclear_list_ || (event.type == json_type::object && !adapter_named_);
    } else if (path.is == request_part::carrier) {
        media_.take(event, path.is);
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
    if (event.is != json_event::what::text) {
        model_value_ = {event.value_begin, event.value_end};
    }
    if (event.type == json_type::null) {
        return;
    }
    if (event.type != json_type::string || event.text.size() > max_model - model_size_) {
        set_fault(body_fault::bad_model);
        return;
    }
    std::memcpy(names_ + model_size_, event.text.data(), event.text.size());
    model_size_ = static_cast<uint16_t>(model_size_ + event.text.size());
    has_model_ = true;
}

void request_facts::on_list(const json_event& event)
{
    unclear_list_ = unclear_list_ || (event.type != json_type::array && event.type != json_type::null);
}

void request_facts::on_adapters(const json_event& event)
{
    if (event.type == json_type::null) {
        return;
    }
    unclear_list_ = unclear_list_ || event.folded || (named_in_ & model_field::contents) != 0;
    if (event.type == json_type::string) {
        on_listed(event);
    } else {
        on_list(event);
    }
}

void request_facts::on_listed(const json_event& event)
{
    if (list_begin_ == 0) {
        // A model that comes later has its place before it.
        list_begin_ = has_model_ ? model_size_ : max_model;
    }
    const bool ends = event.is == json_event::what::value;
    const size_t room = sizeof names_ - list_begin_ - list_size_;
    if (event.type != json_type::string || event.text.find('\0') != std::string_view::npos
        || event.text.size() + ends > room) {
        unclear_list_ = true;
        return;
    }
    char* at = names_ + list_begin_ + list_size_;
    event.text.copy(at, event.text.size()); // which may be none, at no place
    if (ends) {
        at[event.text.size()] = '\0';
    }
    list_size_ = static_cast<uint16_t>(list_size_ + event.text.size() + ends);
    listed_size_ = static_cast<uint16_t>(listed_size_ + event.text.size() + ends);
    if (ends) {
        end_listed();
    }
}

// A name that is in the list already needs no more room: a request for many vectors may have it in each of
// its parts.
void request_facts::end_listed()
{
    const std::string_view name(names_ + list_begin_ + list_size_ - listed_size_, listed_size_);
    std::string_view before(names_ + list_begin_, size_t{list_size_} - listed_size_);
    for (; !before.empty(); before.remove_prefix(before.find('\0') + 1)) {
        if (before.starts_with(name)) {
            list_size_ = static_cast<uint16_t>(list_size_ - listed_size_);
            break;
        }
    }
    listed_size_ = 0;
}

void request_facts::on_named(const json_event& event, model_fields names)
{
    if ((names & named_in_) == 0 || event.type == json_type::null) {
        return;
    }
    // Clients of Ollama send a name of old that is empty.
    if (event.is == json_event::what::value && event.type == json_type::string && event.text.empty()
        && listed_size_ == 0 && names != model_field::contents) {
        return;
    }
    // A server that reads a name in any case has two of them then.
    unclear_list_ = unclear_list_ || event.folded || names == model_field::contents;
    on_listed(event);
}

void request_facts::on_bound(const json_event& event, bound_names name)
{
    if (event.type == json_type::null) {
        return;
    }
    const auto at = static_cast<size_t>(std::countr_zero(name));
    const bool is_clear = lax_count(event, bounds_[at]);
    bounds_are_[at] = is_clear ? request_bound::state::value : request_bound::state::unbounded;
}

request_bound request_facts::max_tokens(bound_names names) const
{
    request_bound largest;
    for (; names != 0; names &= static_cast<bound_names>(names - 1)) {
        const auto at = static_cast<size_t>(std::countr_zero(names));
        if (bounds_are_[at] == request_bound::state::unbounded) {
            return {request_bound::state::unbounded, 0};
        }
        if (bounds_are_[at] == request_bound::state::value) {
            largest = {request_bound::state::value, std::max(largest.value, bounds_[at])};
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

bool request_facts::seen_twice(uint8_t once)
{
    const uint64_t bit = uint64_t{1} << (once - 1);
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
