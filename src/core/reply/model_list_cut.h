// Which bytes of an upstream's list of models are of models that the caller may not use: they are taken out
// of what it gets.
#pragma once

#include "core/json/json_scan.h"
#include "usage_strip.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// Reads the lists of OpenAI's, Anthropic's, Ollama's, Gemini's and llama.cpp's APIs, and an array alone: the
// elements of `data`, of `models` and of the array. An element goes by its `id`; where it has none, by its
// `name` and its `model`, or it is the name itself. One without a name goes out of the list, and with each
// that goes, a comma. All zero bytes, but for what is allowed, are a valid initial state.
class model_list_cut {
public:
    static constexpr size_t max_name = 256;

    // Says whether a model of this name may stay.
    struct allowed_names {
        bool (*allows)(void* owner, std::string_view name);
        void* owner;
    };

    explicit model_list_cut(const allowed_names& allowed) : allowed_(allowed) {}

    // Takes the next piece. `erase` is told what of it, and of earlier ones from settled() on, goes. False if
    // the list is no JSON: nothing more is to be let through then.
    bool feed(std::string_view piece, const erase_sink& erase);
    // To be called at the end of the reply. False if the list has no end.
    bool finish() const { return scanner_.state() == json_scanner::status::complete; }
    // Bytes taken so far.
    uint64_t offset() const { return offset_; }
    // Up to where it is decided what goes. What is not decided is at most an element and what is before it.
    uint64_t settled() const { return in_list_ ? undecided_ : offset_; }

private:
    struct feeding;
    // What an element says of itself by one name or more: whether it may stay for all of them.
    struct said {
        bool any;
        bool all_allowed;

        bool allows() const { return any && all_allowed; }
        void add(bool is_allowed) { any = true, all_allowed = all_allowed && is_allowed; }
    };

    void on(const json_event& event, const erase_sink& erase);
    void begin_element(const json_event& event);
    void end_element(uint64_t end, const erase_sink& erase);
    void take_name(const json_event& event, said& of);

    allowed_names allowed_;
    json_scanner scanner_;
    uint64_t offset_ = 0;
    uint64_t undecided_ = 0; // where the list begins, or the end of its last element that is decided on
    bool in_list_ = false;
    bool kept_any_ = false; // of this list
    // Of the element that is being read.
    bool in_element_ = false;
    bool is_first_ = false;
    uint64_t comma_ = 0; // before it
    uint64_t begin_ = 0;
    said id_ = {};
    said names_ = {};
    bool longer_ = false; // the name that is being read is longer than there is room for
    uint16_t name_size_ = 0;
    char name_[max_name]; // the first name_size_ bytes are set
};

} // namespace llm
