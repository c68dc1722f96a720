// Finds the values at a few known paths of a JSON text, and where they stand, as the text arrives in any
// pieces.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// What of a scalar's text a path wants: nothing, up to json_scanner::max_text bytes, or all of it in pieces.
enum class json_text : uint8_t { none, bounded, pieces };

// One node of the tree of paths. Node 0 is the top-level value. `name` is a member's name, or json_elements
// for every element of an array. Siblings stand together, after their parent, json_elements first; an
// empty name is that of no member;
// json_paths() checks it and fills in the rest.
struct json_path {
    std::string_view name;
    uint8_t parent = 0;
    json_text text = json_text::none;
    bool any_case = false;     // also takes names that differ in the case of letters, as `folded`
    bool silent = false;       // nothing is told of its values; other paths lead through it
    bool has_elements = false; // a child is json_elements
    bool has_members = false;  // another one is not
    bool has_any_case = false; // one is any_case
    uint8_t first_child = 0;
    uint8_t children = 0;
    uint8_t others = 0;              // the child that is json_others, or 0
    uint8_t next = 0;                // the next sibling with the same json_name_slot, or 0
    uint64_t marks = 0;              // json_name_mark of each child
    uint64_t head = 0;               // json_name_head of the name
    std::array<uint8_t, 16> slots{}; // the first child of each json_name_slot, or 0
};

inline constexpr std::string_view json_elements = "[]";
// As a path's name: every member that has no path by its own name.
inline constexpr std::string_view json_others = "{}";

// A number below 64 for a name that few other names share; the same in any case of its letters.
constexpr size_t json_name_number(std::string_view name)
{
    return (name.size() * 5 + (name[0] & 0x1f)) & 63;
}

// A bit for that number. No bit for the empty name, which no path can have.
constexpr uint64_t json_name_mark(std::string_view name)
{
    return name.empty() ? 0 : uint64_t{1} << json_name_number(name);
}

constexpr size_t json_name_slot(std::string_view name)
{
    return json_name_number(name) & 15;
}

// The first eight bytes of a name, which tell most names apart in one comparison; zeros where it is shorter.
constexpr uint64_t json_name_head(std::string_view name)
{
    uint64_t head = 0;
    for (size_t i = 0; i < name.size() && i < 8; ++i) {
        head |= uint64_t{static_cast<uint8_t>(name[i])} << (8 * i);
    }
    return head;
}

enum class json_type : uint8_t { null, no, yes, number, string, object, array };

// What a sink is told. Offsets count from json_scanner::start.
struct json_event {
    enum class what : uint8_t {
        open,  // an object or array begins
        close, // and ends; `index` is its number of members or elements, or 0 where no path leads into it
        text,  // json_text::pieces: the next max_text bytes of a scalar; the rest comes with `value`
        value, // a scalar ended
    } is;
    uint8_t path;
    json_type type;
    bool truncated; // `text` is not all of it
    bool folded;    // the name is not the path's, but may be taken for it
    uint32_t index; // place among its siblings, from 0
    // Unescaped; valid during the call. Of numbers as written, NaN, Infinity and -Infinity included.
    std::string_view text;
    uint64_t comma; // the one before it; meaningless at index 0
    // Of the name's quote, or of the value where there is no name. This, key_end and value_begin are not set
    // at `close`.
    uint64_t key_begin;
    uint64_t key_end; // one past the name's last quote; meaningless where there is no name
    uint64_t value_begin;
    uint64_t value_end; // one past its last byte; not set at `open` and `text`
    uint64_t surplus;   // of a string that ended: bytes that its escapes take more than what they stand for

    // Of a string that ended: its bytes of UTF-8.
    uint64_t string_size() const { return value_end - value_begin - 2 - surplus; }
};

// Called for each event, in the order of the text. It must not touch the scanner.
struct json_sink {
    void (*take)(void* owner, const json_event& event);
    void* owner;
};

enum class json_error : uint8_t { none, syntax, too_deep };

// Where the scanner finds paths it is a strict parser, which also takes NaN, Infinity and -Infinity, and
// escapes of lone surrogates, as CPython does. In containers that no path leads into it checks strings,
// escapes and the nesting of brackets only, and bears control characters in strings, but where it is told to
// be strict everywhere. Names are compared unescaped. What is UTF-8 is not looked at. All zero bytes are a
// valid initial state.
class json_scanner {
public:
    enum class status : uint8_t { more, complete, failed };

    static constexpr size_t max_depth = 512;
    static constexpr size_t max_text = 64;  // no path's name may be longer
    static constexpr size_t max_levels = 8; // of containers that paths lead into

    // Begins a new text whose first byte has this offset.
    void start(uint64_t offset = 0);
    // Sets the offset of the byte that is fed next, for texts that do not stand in one piece (SSE data
    // lines).
    void seek(uint64_t offset) { offset_ = offset; }
    // From here on the whole grammar at every depth. And a name is also told, as `folded`, that is one of a
    // path only if it ends at a NUL, less its lone surrogates, or in the case that Unicode makes of two
    // letters.
    void be_strict() { strict_ = true; }

    // Returns how many bytes it took: all, or up to the byte that is an error, or, once the top-level value
    // is complete, up to the first byte after it that is not white space. A number at the top ends only with
    // the byte after it. `paths` comes from json_paths() and is the same for all pieces of a text.
    size_t feed(std::string_view piece, const json_path* paths, json_sink sink);
    // The text ends here: completes a number at the top.
    status finish(const json_path* paths, json_sink sink);

    status state() const;
    // Where a member of the top-level object begins, its comma included, that may be the one at this path and
    // of which no event has told yet. UINT64_MAX where no such member has begun.
    uint64_t unsaid(uint8_t path, const json_path* paths) const;
    json_error error() const { return error_; }
    // Of the next byte, or of the one that is an error.
    uint64_t offset() const { return offset_; }

private:
    enum class step : uint8_t {
        top, // zero: the initial state
        first_element,
        element,
        first_key,
        key,
        colon,
        member,
        after_value,
        string,
        number,
        literal,
        skip,
        done,
        failed,
    };
    enum class role : uint8_t { key, value, skipped };
    // What has to come next in what is skipped strictly.
    enum class due : uint8_t { first_key, key, colon, first_value, value, after };
    enum class digits : uint8_t {
        minus,
        zero,
        whole,
        point,
        fraction,
        exponent,
        exponent_sign,
        exponent_digits
    };
    struct run;

    static constexpr uint8_t no_path = 0xff;

    [[gnu::cold]] const char* fail(const char* p, json_error error);
    const char* structure(const run& r, const char* p, const char* end);
    const char* members(const run& r, const char* p, const char* end);
    const char* elements(const run& r, const char* p, const char* end);
    const char* value(const run& r, const char* p, const char* end);
    const char* string(const run& r, const char* p, const char* end);
    const char* number(const run& r, const char* p, const char* end);
    const char* literal(const run& r, const char* p, const char* end);
    const char* begin_number(const run& r, const char* p, const char* end);
    const char* begin_literal(const run& r, const char* p, const char* end);
    bool leads_into(const json_path& path, bool object) const;
    const char* container(const run& r, const char* p, const char* end);
    const char* close(const run& r, const char* p);
    const char* in_string(const run& r, const char* p, const char* end);
    const char* escape(const run& r, const char* p);
    const char* in_number(const run& r, const char* p, const char* end);
    const char* in_literal(const run& r, const char* p, const char* end);
    const char* in_skip(const run& r, const char* p, const char* end);
    const char* skip_blocks(const run& r, const char* p, const char* end);
    bool skip_bracket(const run& r, const char* p);
    const char* in_strict_skip(const run& r, const char* p, const char* end);
    const char* skip_string(const char* p, due next);
    void container_ended(const run& r, bool object, uint32_t count, uint64_t end);
    void key_ended(const run& r);
    void string_ended(const run& r, uint64_t end);
    void match_key(const run& r, std::string_view name);
    uint8_t child_of(const run& r, std::string_view name);
    [[gnu::cold]] uint8_t folded_child_of(const run& r, std::string_view name);
    uint8_t lookalike_of(const run& r, std::string_view name);
    void value_ended(const run& r, json_type type, std::string_view text, uint64_t end);
    void scalar_ended(const run& r, json_type type, std::string_view text, uint64_t end);
    void put(const run& r, const char* p, size_t n);
    void put_code(const run& r, uint32_t code);
    void put_lone_surrogate(const run& r);
    void put_lost(const run& r);
    bool is_told(const run& r) const;
    void emit(const run& r, json_event::what is, json_type type, std::string_view text, uint64_t end) const;
    bool push(bool object);
    bool pop(bool object); // false where the innermost is not of this kind
    bool top_is_object() const;
    bool number_may_end() const;

    uint64_t offset_ = 0;
    uint64_t comma_ = 0;
    uint64_t key_begin_ = 0;
    uint64_t key_end_ = 0;
    uint64_t value_begin_ = 0;
    uint64_t surplus_ = 0;
    uint32_t count_[max_levels]; // members or elements begun, of each open container that paths lead into
    uint16_t depth_ = 0;         // open containers
    uint16_t skip_base_ = 0;     // depth_ around the container that is skipped
    uint16_t code_ = 0;          // \uXXXX so far
    uint16_t high_ = 0;          // a high surrogate that waits for its low one
    step step_ = step::top;
    json_error error_ = json_error::none;
    role role_ = role::key;
    digits digits_ = digits::minus;
    due due_ = due::first_key;
    uint8_t escape_ = 0; // 0: not in an escape, 1: after the backslash, 2..5: before the hex digit 1..4
    uint8_t literal_ = 0;
    uint8_t literal_at_ = 0;
    uint8_t container_ = 0; // path of the innermost open container that paths lead into
    uint8_t path_ = 0;      // path of the value that is expected or being read, or no_path
    bool capture_ = false;
    bool truncated_ = false;
    bool folded_ = false;
    bool strict_ = false;
    uint8_t text_size_ = 0;
    // A bit per open container: 1 is an object. The innermost one is bit 0 of the last word in use, which is
    // also that of the depth.
    uint64_t nesting_[max_depth / 64] = {};
    char text_[max_text]; // the first text_size_ bytes are set
};

namespace detail {
void paths_are_out_of_order();
} // namespace detail

// Makes a table for json_scanner::feed. A mistake in the list does not compile.
template <size_t N>
consteval std::array<json_path, N> json_paths(std::array<json_path, N> list)
{
    static_assert(N > 0 && N < 255);
    std::array<uint8_t, N> level{};
    for (size_t i = 1; i < N; ++i) {
        json_path& parent = list[list[i].parent];
        level[i] = static_cast<uint8_t>(level[list[i].parent] + 1);
        if (parent.children == 0) {
            parent.first_child = static_cast<uint8_t>(i);
        }
        ++parent.children;
        const bool is_element = list[i].name == json_elements;
        parent.has_elements |= is_element;
        parent.has_members |= !is_element;
        parent.has_any_case |= list[i].any_case;
        // The head of no name of this length: a member may have it as its name.
        list[i].head = UINT64_MAX;
        if (list[i].name == json_others) {
            parent.others = static_cast<uint8_t>(i);
        } else if (!is_element) {
            list[i].head = json_name_head(list[i].name);
            parent.marks |= json_name_mark(list[i].name);
            if (!list[i].name.empty()) {
                uint8_t* last = &parent.slots[json_name_slot(list[i].name)];
                while (*last != 0) {
                    last = &list[*last].next;
                }
                *last = static_cast<uint8_t>(i);
            }
        }
        if (list[i].parent >= i || (is_element && parent.children != 1)
            || parent.first_child + parent.children != i + 1 || level[i] > json_scanner::max_levels
            || list[i].name.size() > json_scanner::max_text) {
            detail::paths_are_out_of_order();
        }
    }
    return list;
}

} // namespace llm
