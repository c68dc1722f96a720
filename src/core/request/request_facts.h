// What a request's JSON body asks for, read as the body arrives, in any pieces.
#pragma once

#include "body_members.h"
#include "core/api/api.h"
#include "core/base/utf8_check.h"
#include "core/json/json_scan.h"
#include "request_media.h"
#include "request_values.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// Why a body cannot be let through: what it says may be read differently by the upstream.
enum class body_fault : uint8_t {
    none,
    not_an_object,   // the first byte that is not white space is not `{` (also: UTF-16, a BOM, an empty body)
    syntax,          // not JSON at any depth, NUL bytes, more text after the object, or the end is missing
    not_utf8,        // a byte that no text in UTF-8 has there
    too_deep,        // nested deeper than json_scanner::max_depth
    duplicate_field, // a field that is read here stands twice (escaped spellings of a name are the same name)
    ambiguous_name,  // a field that decides is in another case ("Model"): Go servers match names without case
    bad_model,       // `model` is neither a string nor null, or longer than max_model bytes
    not_a_form,      // a form that does not begin with its boundary
};

// `stream_options`: what it says, and where in the body it says so, for more to be asked there.
struct stream_options_member {
    enum class state : uint8_t {
        absent,
        null,
        object,
        other, // of a type that no server takes
    } is = state::absent;
    request_flag include_usage = request_flag::absent;
    request_flag continuous_usage_stats = request_flag::absent;
    bool empty = false; // an object without members

    // Offsets in the body: of the member, with the comma that goes with it,
    uint64_t begin = 0;
    uint64_t end = 0;
    // of the value, and within an object of the values that are there.
    uint64_t value_begin = 0;
    uint64_t value_end = 0;
    uint64_t include_usage_begin = 0;
    uint64_t include_usage_end = 0;
    uint64_t continuous_begin = 0;
    uint64_t continuous_end = 0;
};

// Reads the fields of the OpenAI API, and the bounds of the native APIs of llama.cpp, Ollama, TGI and SGLang.
// Only members of the root object count, and of its objects `options`, `parameters`, `sampling_params` and
// `stream_options`.
// All zero bytes are a valid initial state.
class request_facts {
public:
    static constexpr size_t max_model = 256;
    // Room for the names in lists, beside what the model's name leaves.
    static constexpr size_t least_list = 128;
    // choices() of a request whose `n` is no clear count: the most that the OpenAI API allows.
    static constexpr uint32_t unclear_choices = 128;

    // To be called before the first piece: keeps in this memory where the root's members are.
    void keep_members(std::span<body_member> room) { members_.keep_in(room); }

    // To be called before the first piece: these name models too.
    void look_for_models_in(model_fields names) { named_in_ = names; }

    // Takes the next piece of the body. False once the body is faulty: the rest need not be fed.
    bool feed(std::string_view piece);
    // The same for a body that is all in one piece, in less time.
    bool feed_whole(std::string_view body);
    // To be called at the end of the body.
    body_fault finish();
    body_fault fault() const { return fault_; }

    // What follows holds when finish() returned `none`.

    // `model` is present and not null.
    bool has_model() const { return has_model_; }
    // Unescaped; valid as long as this object.
    std::string_view model() const { return {names_, model_size_}; }
    // Where the value of `model` is, be it null; empty if there is none.
    byte_range model_value() const { return model_value_; }
    // The root has no members.
    bool empty() const { return empty_; }
    // The names in `models`, `fallbacks`, TGI's `adapter_id` and their like, which servers may turn to, each
    // once with a NUL behind it.
    std::string_view more_models() const { return {names_ + list_begin_, list_size_}; }
    // These lists have something else than names, or more of them than there is room for.
    bool unclear_models() const { return unclear_list_; }
    // `stream` has a value that a lenient server may take for true: all but false, null, 0 and the words for
    // them.
    bool may_stream() const { return stream_ == request_flag::yes || stream_ == request_flag::unclear; }
    // `stream` is not there.
    bool leaves_stream_open() const { return stream_ == request_flag::absent; }
    // `stream` has a value that every server that takes it at all takes for true.
    bool surely_streams() const { return stream_ == request_flag::yes; }
    // The first byte that is not white space; NUL if there is none. This one holds for a faulty body too.
    char first() const { return first_; }
    // The largest of these names for it that are given; of one choice, in tokens.
    request_bound max_tokens(bound_names names = bound_name::all) const;
    // `n`, or `best_of` if it is larger (and the native names for them); at least 1.
    uint32_t choices() const { return choices_ > 1 ? choices_ : 1; }
    // Elements of `prompt`, `text` or `input_ids` if it is an array of strings or arrays, else 1.
    uint32_t prompts() const { return prompts_ > 1 ? prompts_ : 1; }
    // The reply is to have certain fields only, which may leave out text and counts.
    bool names_fields() const { return names_fields_; }
    const stream_options_member& stream_options() const { return options_; }
    // The offset of the brace that closes the root object.
    uint64_t root_end() const { return root_end_; }
    // Body bytes fed.
    uint64_t bytes() const { return bytes_; }
    // What of them is no text.
    const request_media& media() const { return media_; }
    // Where the root's members are, if keep_members() was called.
    const body_members& members() const { return members_; }

private:
    struct feeding; // the piece that is being fed

    template <class Table>
    bool feed_with(std::string_view piece, const Table& table)
    {
        return feed(piece, table.paths.data(), table.marks.data());
    }
    bool feed(std::string_view piece, const json_path* paths, const request_path* parts);
    static void take(void* feeding, const json_event& event);
    void on(const json_event& event, const request_path& path);
    void on_close(const json_event& event, const request_path& path);
    void on_stream_options(const json_event& event);
    void find_options_comma(const feeding& now);
    void on_model(const json_event& event);
    void on_list(const json_event& event);
    void on_listed(const json_event& event);
    void on_adapters(const json_event& event);
    void on_named(const json_event& event, model_fields names);
    void end_listed();
    void on_bound(const json_event& event, bound_names name);
    void on_choices(const json_event& event);
    bool seen_twice(uint8_t once);
    void set_fault(body_fault fault);

    json_scanner scanner_;
    utf8_check utf8_;
    uint64_t bytes_ = 0;
    uint64_t seen_ = 0;                 // a bit for each member that may be there once only
    uint64_t bounds_[bound_name_count]; // one for each of bound_names
    uint32_t choices_ = 0;
    uint32_t prompts_ = 0;
    uint16_t model_size_ = 0;
    uint16_t list_begin_ = 0; // in names_
    uint16_t list_size_ = 0;
    uint16_t listed_size_ = 0; // of it, what is of the name that is being read
    model_fields named_in_ = model_field::none;
    request_bound::state bounds_are_[bound_name_count] = {};
    body_fault fault_ = body_fault::none;
    char first_ = '\0';
    bool has_model_ = false;
    bool names_fields_ = false;
    bool unclear_list_ = false;
    bool adapter_named_ = false; // the one of `adapters` that is being read
    bool empty_ = false;
    bool in_options_ = false;  // between the braces of `stream_options`
    bool wants_comma_ = false; // `stream_options` stood first: the comma after it is its own
    request_flag stream_ = request_flag::absent;
    uint64_t root_end_ = 0;
    byte_range model_value_ = {};
    stream_options_member options_;
    request_media media_;
    body_members members_;
    // The first model_size_ bytes are the model's; then come the lists, or from max_model on if they came
    // first.
    char names_[max_model + least_list];
};

} // namespace llm
