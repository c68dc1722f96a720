// JSON replies that differ from one that was read only in text and numbers whose places are known: they are
// compared instead of read.
#pragma once

#include "text_pattern.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// A count of the usage object, where it stands in the reply.
struct reply_count {
    usage_field field;
    size_t begin;
    size_t end;
};

// The patterns of the last few replies. They belong to no reply: those of one server look alike. Nothing is
// kept in them of text that may differ, nor any that the model or the user wrote.
class reply_patterns {
public:
    struct found {
        size_t size;    // of the reply
        bool generates; // it holds generated text
        usage_fields usage;
    };

    // Whether there is a reply at the front of `piece` that is like one of the patterns; `reply` is set only
    // then.
    bool match(std::string_view piece, found& reply);

    // This reply, which match() did not find, is valid JSON. `counts` are all that it says of tokens, in the
    // order of the text. Makes a pattern of it, if that is not too large and has no strings but those that
    // are known.
    void learn(std::string_view reply, std::span<const reply_count> counts, bool generates);

private:
    struct pattern : text_pattern {
        bool generates = false;

        bool take(std::string_view reply, std::span<const reply_count> counts);
    };

    static constexpr size_t max_patterns = 4;

    pattern patterns_[max_patterns];
    uint8_t last_ = 0;    // the one that was found or learned last
    uint8_t misses_ = 0;  // how many more replies were like none than like one
    uint8_t replies_ = 0; // modulo 256
};

} // namespace llm
