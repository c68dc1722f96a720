// The tokens that a reply used, as the upstream says it, read from the reply as it passes, in any pieces.
#pragma once

#include "core/json/json_scan.h"
#include "core/json/sse.h"
#include "event_usage.h"
#include "reply_form.h"
#include "reply_piece.h"
#include "text_place.h"
#include "usage_strip.h"
#include "usage_sum.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

// Reads the replies of OpenAI's chat, completions, responses and embeddings, Anthropic's messages, Ollama's
// and llama.cpp's own APIs, TGI's and SGLang's generate, rerank and score, as hosted and self-hosted servers
// send them. Which of them it is, the reply shows: names of one mean nothing else in another. All zero bytes
// are a valid initial state, which reads nothing.
class usage_reader {
public:
    usage_reader() = default;
    // `form` is what the reply is said to be: its first bytes may show another. `prompts` as
    // request_facts::prompts(): with more than one, the prompt counts of several last words are added. Only
    // of a stream of events something can be stripped.
    usage_reader(reply_form form, uint32_t prompts, strip_what strip = strip_what::nothing);
    void start(reply_form form, uint32_t prompts, strip_what strip = strip_what::nothing)
    {
        *this = usage_reader(form, prompts, strip);
    }
    void feed(std::string_view piece) { feed(piece, {}); }
    // `erase` is told what of these bytes, and of earlier ones from settled() on, is to be taken out.
    void feed(std::string_view piece, const erase_sink& erase);
    // Takes pieces from the front, each of whole events of which little is to be known, and says what is
    // erased from them. Returns how many; what is left is for feed(). Faster than that, and to the same end.
    size_t pass(std::span<reply_piece> pieces);
    // False: pass() would take nothing. Nor does it while bytes are held back: those that it takes would go
    // out before them. Behind a line that is no data there may be some at a border, too.
    bool may_pass() const
    {
        return form_ == reply_form::sse && may_skip() && tries_off_ == 0 && stream_.at_border()
               && settled_ == stream_.offset();
    }
    // To be called when the reply is whole, or when it is known that no more comes: takes an unterminated
    // last event.
    void finish() { finish({}); }
    void finish(const erase_sink& erase);

    // Bytes taken so far of a stream of events.
    uint64_t offset() const { return stream_.offset(); }
    // Up to which offset of the stream it is decided what is taken out: bytes behind it are to be held back.
    // At most usage_strip::max_held of them.
    uint64_t settled() const { return settled_; }

    // From now on no part of an event is settled before all of it has come, up to usage_strip::max_held
    // bytes: so the stream can be ended behind a whole event at any time.
    void hold_events() { holds_ = true; }
    // The opposite, where no more comes: what has come is settled, but for an event that may be one to be
    // stripped.
    void release_events();
    // How many choices the request asks for, of all its prompts; `prompts` if this is not called. The
    // upstream has no more last words than that.
    void expect_choices(uint32_t choices) { asked_choices_ = choices > prompts_ ? choices : prompts_; }

    // Any usage was seen that is neither null nor all zero.
    bool known() const { return sum_.known(); }
    // Nothing of an event has passed that has not passed whole: something may be put in here.
    bool at_event_border() const;
    // The same of what is settled.
    bool settled_at_border() const;
    // The upstream's last word was seen.
    bool final() const { return sum_.has_last_word() || (known() && whole()); }
    // True at any moment; an event counts when it is whole.
    token_counts counts() const;
    // The first piece of content, reasoning, tool arguments or text came; of a JSON reply, its first byte.
    bool content_seen() const { return content_seen_; }
    // The reply's top, or that of an event in the stream, has an `error` that is not null, false, 0 or empty;
    // or the event is named so.
    bool error_seen() const { return error_seen_; }
    // The stream said that it is whole: `[DONE]`.
    bool done_seen() const { return done_seen_; }
    // All that a client waits for has come: the stream said so, or each choice has ended.
    bool whole() const;
    // A stream of a known kind in which nothing yet says that it ends.
    bool lacks_end() const
    {
        const bool told = told_at_start_ ? sum_.has_last_word() : known();
        return typed_ && ended_choices_ == 0 && !ended_ && !done_seen_ && !told;
    }
    // The Responses API said that the reply is incomplete.
    bool incomplete_seen() const { return incomplete_seen_; }

    // What it was found to be; until then, or if that is nothing that is read, as it was said to be, or
    // `none`.
    reply_form form() const { return form_; }
    // Nothing of it can be read, or it is JSON in which nothing is known.
    bool unread() const
    {
        return form_ == reply_form::none
               || (form_ == reply_form::json && !generated_ && !vectors_ && !pending_);
    }
    // Text that no usage has counted yet: what is left to be estimated. Of a stream whole events only.
    text_size uncounted_text() const { return uncounted_; }
    // All text that the reply has shown so far; not of a JSON reply of which the usage alone was read.
    text_size shown_text() const
    {
        text_size all = counted_;
        all.add(uncounted_);
        return all;
    }
    // Reasoning was among it.
    bool showed_reasoning() const { return reasoning_seen_; }
    // Of a JSON reply, or one that cannot be read: its bytes so far, as sent.
    uint64_t json_bytes() const { return json_bytes_; }
    // The reply holds generated text, or is a stream.
    bool generates() const { return form_ == reply_form::sse || form_ == reply_form::lines || generated_; }
    // The upstream said that neither prompt nor completion has a token, or that it has not begun yet, and no
    // text was there.
    bool told_nothing() const
    {
        return (told_zero_ || pending_) && !known() && uncounted_.bytes == 0 && !hides_text();
    }
    // A JSON reply whose text, if it is not known, is where it is not looked for.
    bool hides_text() const { return generated_ && !text_seen_; }
    // It holds embeddings or ranks.
    bool has_vectors() const { return vectors_; }

private:
    // llama.cpp's, which count where nothing else does.
    struct timings_counts {
        uint32_t cached = 0;
        uint32_t prompt = 0;
        uint32_t completion = 0;
    };

    enum class response_status : uint8_t { none, completed, incomplete, failed };

    // What has been read of an event, or of a JSON reply; forgotten at its end.
    struct event_state {
        usage_counts usage;
        uint32_t choices = 0;
        bool has_choices = false;
        bool usage_is_choices = false; // `usage` is a choice's
        bool has_native = false;       // reading_ has the counts of a native API
        bool has_top_index = false;
        bool native_is_whole = false; // they are of the whole reply, whatever the index
        bool error = false;
        bool content = false;
        bool repeats = false; // its text has come in others before
        bool has_text = false;
        bool has_finish = false;
        bool choice_ends = false; // the choice that is being read
        bool ends = false;        // a native API's last
        bool is_last = false;     // its usage is the last word
        bool is_typed = false;    // by its type it is of a known kind of stream
        bool starts = false;      // likewise it is the stream's first, whose usage is no end
        bool stops = false;       // likewise it is the stream's last
        bool bad = false;         // more than one value in its data
        response_status status = response_status::none; // of a whole reply, by its type
        uint8_t delta = 0;                              // which of all_deltas() it is by its type, from 1 on
        uint8_t done_at = 0;                            // bytes of [DONE] that match, if it may still be that
        uint32_t null_finish = 0; // where its only finish_reason ends, from its begin, if it is null
        uint64_t ended_choices = 0;
        uint64_t text = 0;         // bytes of it
        uint64_t other_text = 0;   // bytes of what the delta has beside the members that are known
        uint64_t thought_size = 0; // of the choice's last reasoning
        timings_counts timings;
    };

    struct call; // see usage_call.h

    static void take(void* of, const json_event& event);
    void on(const json_event& event, const call& in);
    void on_usage(const json_event& event, const call& in);
    void on_wrapped_usage(const json_event& event);
    void on_choice(const json_event& event);
    void on_choices(const json_event& event);
    void on_finish(const json_event& event, const call& in);
    void on_native(usage_field field, const json_event& event);
    void on_type(const json_event& event);
    void on_element(const json_event& event);
    void on_text(const json_event& event);
    uint64_t text_bytes(const json_event& event);
    void note_content();
    void on_other_content(const json_event& event);
    void on_content(const json_event& event, bool parts_count, const call& in);
    void on_reasoning(const json_event& event, const call& in);
    void on_timing(usage_field field, const json_event& event);
    void on_json_end(const json_event& event);
    void feed_form(std::string_view piece, const erase_sink& erase);
    size_t begin(std::string_view piece);
    void feed_json(std::string_view piece, const erase_sink& erase);
    void behind_json(std::string_view piece);
    void become_lines(std::string_view piece);
    bool read_whole(std::string_view piece);
    void feed_events(std::string_view piece, const erase_sink& erase);
    void feed_lines(std::string_view piece);
    size_t pass_events(std::string_view piece, const erase_sink& erase);
    void count_read(const event_usage& event);
    void pass_skippable(size_t bytes, const text_size& text);
    void on_item(const sse_item& item, const erase_sink& erase);
    void on_data(std::string_view bytes, const erase_sink& erase);
    void next_text(const erase_sink& erase);
    void on_event_end(const erase_sink& erase);
    void count_event();
    void note_text(bool counted, const text_size& text);
    // Events that say nothing need not be read: what they show of text can be measured.
    bool may_skip() const { return place_.known() && (chunks_ || place_.has_name()); }
    uint64_t event_begin() const;
    void settle(const erase_sink& erase);
    void clear_event();
    usage_counts told_by_timings() const;
    void forget_timings();
    // One bit a choice, as far as there are bits.
    static uint64_t choice_bit(uint32_t index) { return uint64_t{1} << (index < 63 ? index : 63); }

    // Of the reply. What an event without usage needs comes first, on one cache line with the request's
    // state: with many paced streams each chunk finds the cache cold.
    reply_form form_ = reply_form::none;
    bool begun_ = false; // the first bytes have decided what it is
    bool content_seen_ = false;
    bool error_seen_ = false;
    bool done_seen_ = false;
    bool ended_ = false; // a native API's last event was seen
    bool incomplete_seen_ = false;
    bool generated_ = false;
    bool vectors_ = false;
    bool json_over_ = false;     // JSON: what comes now is not read
    bool pending_ = false;       // JSON: the reply is still to be made
    bool told_zero_ = false;     // a usage object whose counts are all 0
    bool holds_ = false;         // see hold_events()
    bool text_seen_ = false;     // JSON: text was where it is looked for, be it empty
    bool typed_ = false;         // a stream of choices, or of Anthropic's or the Responses API's events
    bool told_at_start_ = false; // a stream whose first event has usage
    bool by_timings_ = false;    // all counts so far are llama.cpp's timings
    bool reasoning_seen_ = false;
    bool null_tells_ = false;   // `"usage":null` has to be seen
    bool chunks_ = false;       // of chat or completions: all else that events may be means nothing
    uint8_t told_in_a_row_ = 0; // events that were tried to be passed over and could not be
    uint8_t tries_off_ = 0;     // events to be read before that is tried again
    bool at_line_ = true;       // of lines: between two of them
    bool json_read_ = false;    // JSON: all is read, and not by the scanner
    bool usage_runs_ = false;   // the last event had a usage that had to be seen
    uint32_t prompts_ = 1;
    uint32_t asked_choices_ = 1;
    uint64_t settled_ = 0;
    text_size uncounted_;
    text_place place_; // of text in chunks and deltas
    sse_reader stream_;

    reply_begin first_;
    uint64_t ended_choices_ = 0; // see choice_bit()
    text_size counted_;
    uint64_t json_bytes_ = 0;

    // Of the event that is being read.
    json_scanner scanner_;
    usage_strip strip_;
    usage_fields reading_;      // the usage object that is being read, or the counts of a native API
    usage_counts this_choice_;  // usage of the choice that is being read
    uint32_t usage_index_ = 0;  // of the choice that event_.usage is of
    uint32_t choice_index_ = 0; // of the choice that is being read, or was the last
    uint32_t top_index_ = 0;
    uint64_t part_begin_ = 0;  // of a list or object that is text
    uint64_t text_end_ = 0;    // of the text that place_ is of
    uint64_t line_end_ = 0;    // of the data of the event's last whole line
    uint64_t text_begin_ = 0;  // where the text begins that is not the first of its event, or 0
    bool line_joined_ = false; // the next data is a line of its own
    bool lf_goes_too_ = false; // the line feed behind an event that was taken out
    event_state event_;
    usage_sum sum_;
};

} // namespace llm
