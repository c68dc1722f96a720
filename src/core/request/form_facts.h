// The model that a multipart/form-data body names, and what it asks of it, found as the body arrives, in any
// pieces.
#pragma once

#include "core/base/byte_range.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llm {

// The boundary that a Content-Type tells: a part of it, or empty where it tells none that can be relied on.
std::string_view form_boundary(std::string_view content_type);

// Reads the part that is named "model", and measures those that the model gets: "prompt", and files. Forms
// that servers may read in more than one way are `unclear`; that is no fault as long as nothing hangs on the
// model.
class form_facts {
public:
    static constexpr size_t max_model = 256;
    static constexpr size_t max_boundary = 200;

    // What the body is by its first bytes.
    enum class kind : uint8_t {
        unknown, // nothing but white space yet
        form,
        object, // it begins as JSON does
        other,  // neither, or no boundary is known
    };

    // The boundary has to live as long as this.
    explicit form_facts(std::string_view boundary) : boundary_(boundary) {}

    // Takes the next piece. Returns how many of its bytes are the form's: all, or, where the body begins as
    // JSON, those before its first brace.
    size_t feed(std::string_view piece);
    // To be called at the end of the body.
    void finish();

    kind is() const { return is_; }
    uint64_t bytes() const { return bytes_; } // taken
    // These hold for forms, after finish().
    bool has_model() const { return has_model_; }
    std::string_view model() const { return {model_, model_size_}; }
    bool unclear() const { return unclear_; }
    // Where that is, in a form that is not unclear; and where the value of its part's Content-Disposition
    // begins, behind the colon.
    byte_range model_at() const { return {model_begin_, model_begin_ + model_size_}; }
    uint64_t model_disposition() const { return model_disposition_; }
    // Bytes of the parts named "prompt" that are no files, and the number of files.
    uint64_t prompt_bytes() const { return prompt_bytes_; }
    uint32_t files() const { return files_; }

private:
    enum class step : uint8_t {
        begin,       // white space before the first delimiter
        delimiter,   // at the begin of a line, or within what may be a delimiter
        after_it,    // behind a delimiter
        close,       // behind its first hyphen
        header_name, // at the begin of a line of a part's header
        header_value,
        header_end, // behind the carriage return of an empty line
        content,
        epilogue,
    };
    // Where a Content-Disposition has been read to.
    enum class place : uint8_t { type, name_begin, name, value_begin, token, quoted, escaped, after_value };
    enum class header : uint8_t { other, disposition, encoding };

    // The first bytes of a text, and whether there were more.
    struct word {
        char text[32];
        uint8_t size;
        bool longer;

        void clear() { size = 0, longer = false; }
        void add(char c);
        std::string_view view() const { return {text, size}; }
        // In any case of its letters.
        bool is(std::string_view lowcase) const;
    };

    void take(char c);
    void begin(char c);
    void delimiter(char c);
    void after_delimiter(char c);
    void begin_part();
    void end_part();
    void header_name(char c);
    void begin_value();
    void header_value(char c);
    void end_value();
    void disposition(char c);
    void end_parameter();
    void begin_content();
    void content(char c);
    void failed_delimiter(char c);
    void add_to_model(char c);

    std::string_view boundary_;
    uint64_t bytes_ = 0;
    uint64_t next_ = 0;        // the offset behind the byte that is taken
    uint64_t disposition_ = 0; // of this part's
    uint64_t model_disposition_ = 0;
    uint64_t model_begin_ = 0;
    uint64_t prompt_bytes_ = 0;
    uint64_t content_ = 0; // where this part's content begins
    uint64_t line_ = 0;    // and its last line that may be a delimiter
    uint32_t files_ = 0;
    uint16_t matched_ = 0; // bytes of "--" and the boundary
    uint16_t model_size_ = 0;
    kind is_ = kind::unknown;
    step step_ = step::begin;
    place place_ = place::type;
    header header_ = header::other;
    char last_ = '\n';    // the byte before
    bool closed_ = false; // the last delimiter was there
    bool first_ = true;   // no delimiter yet
    bool unclear_ = false;
    bool has_model_ = false;
    // Of the part that is read.
    bool first_line_ = true; // of its content
    bool bare_line_ = false; // the line before ended without a carriage return
    bool has_disposition_ = false;
    bool has_name_ = false;
    bool has_file_ = false;
    bool escapes_ = false; // there was a backslash in the quoted text that is read
    bool is_model_ = false;
    bool name_is_model_ = false;
    bool is_prompt_ = false;
    word name_;             // of a header, or of a parameter
    word value_;            // of a parameter, or of a header
    char model_[max_model]; // the first model_size_ bytes are set
};

} // namespace llm
