// The tokens that a reply used, as the upstream says it, read from the reply as it passes, in any pieces.
#pragma once

#include "json_scan.h"
#include "sse.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

struct token_counts {
    uint64_t prompt = 0;
    uint64_t completion = 0;
    uint64_t cached = 0;    // part of prompt
    uint64_t reasoning = 0; // part of completion
};

enum class reply_form : uint8_t { none, json, sse };

// The form by the reply's Content-Type (parameters and case ignored): application/json, text/event-stream.
reply_form reply_form_of(std::string_view content_type);

// Reads the OpenAI API's chat, completions, embeddings and rerank replies, as OpenAI and the self-hosted
// servers send them: `usage` at the top of a JSON reply or of an event, or in its choices. All zero bytes are
// a valid initial state, which reads nothing.
class usage_reader {
public:
    // Choices of one request whose counts are kept apart. Those from this index on share one place: their
    // largest counts.
    static constexpr size_t max_choices = 16;

    // `prompts` as request_facts::prompts(): with more than one, the prompt counts of several last words are
    // added.
    void start(reply_form form, uint32_t prompts);
    void feed(std::string_view piece);
    // To be called when the reply is whole, or when it is known that no more comes: takes an unterminated
    // last event.
    void finish();

    // Any usage was seen that is neither null nor all zero.
    bool known() const;
    // Nothing of an event has passed that has not passed whole: something may be put in here.
    bool at_event_border() const { return form_ == reply_form::sse && stream_.at_border(); }
    // The upstream's last word was seen: the usage of a JSON reply's top or of an event whose `choices` is
    // empty, or any usage and then [DONE].
    bool final() const;
    // True at any moment; an event counts when it is whole. Usage in a stream is cumulative: the last one of
    // a choice is taken, and choices are added. Events with empty `choices` tell the sum themselves; where
    // there are several, each is that of one choice or prompt (llama.cpp, TensorRT-LLM), and they are added.
    token_counts counts() const;
    // The first piece of content, reasoning, tool arguments or text came; of a JSON reply, its first byte.
    bool content_seen() const { return content_seen_; }
    // The reply's top, or that of an event in the stream, has an `error` that is not null, false, 0 or empty;
    // or the stream has a field `error`.
    bool error_seen() const { return error_seen_; }
    // The stream said that it is whole: `[DONE]`.
    bool done_seen() const { return done_seen_; }

private:
    // Counts of one usage object, each at most max_count.
    struct compact_counts {
        uint32_t prompt = 0;
        uint32_t completion = 0;
        uint32_t cached = 0;
        uint32_t reasoning = 0;

        bool any() const { return (prompt | completion) != 0; }
        void raise(const compact_counts& other);
    };
    static constexpr uint64_t max_count = UINT32_MAX;
    static constexpr size_t fields = 7; // of a usage object

    // The usage object that is being read.
    struct usage_fields {
        uint32_t value[fields] = {};
        uint8_t seen = 0; // a bit per field

        void set(size_t field, const json_event& event);
        compact_counts counts() const;
    };

    static void take(void* self, const json_event& event);
    void on(const json_event& event);
    void on_choice(const json_event& event);
    void feed_stream(std::string_view piece);
    void on_data(std::string_view bytes);
    void on_event_end();
    void clear_event();
    void keep(uint32_t choice, const compact_counts& counts);
    void keep_last_word(const compact_counts& counts);

    // Of the reply. What an event without usage needs comes first, on one cache line with the request's
    // state: with many paced streams each chunk finds the cache cold.
    reply_form form_ = reply_form::none;
    bool content_seen_ = false;
    bool error_seen_ = false;
    bool done_seen_ = false;
    uint32_t prompts_ = 1;
    uint32_t last_words_ = 0;   // usages of events with empty choices, or of a JSON reply's top
    uint32_t choices_seen_ = 0; // the highest index of a choice with usage, and 1
    compact_counts whole_;      // of events that are about no single choice
    sse_reader stream_;

    // Of the event that is being read.
    json_scanner scanner_;
    usage_fields reading_;
    compact_counts event_usage_;
    compact_counts this_choice_;  // usage of the choice that is being read
    compact_counts choice_usage_; // of the last choice that has one
    uint32_t choice_usage_index_ = 0;
    uint32_t choice_index_ = 0; // of the choice that is being read, or was the last
    uint32_t event_choices_ = 0;
    bool has_choices_ = false;
    bool event_error_ = false;
    bool event_bad_ = false; // more than one value in its data
    uint8_t done_at_ = 0;    // bytes of [DONE] that match, if it may still be that

    token_counts last_word_sum_;
    compact_counts last_word_most_;
    compact_counts choice_[max_choices + 1];
};

} // namespace llm
