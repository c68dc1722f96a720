// Writes a script: the tokens that are generated, one event after the other.
#pragma once

#include "plan.h"
#include "reply_script.h"

#include <string>
#include <string_view>

namespace soak {

std::string number(std::size_t n);

class reply_writer {
public:
    explicit reply_writer(const plan& p);

    const plan& of() const { return plan_; }
    script take() { return std::move(script_); }

    // --- the form, first

    void begin_events();
    void begin_lines(); // each a JSON object
    void begin_array(); // of JSON, a line for each element
    void more_head(const std::string& line) { script_.more_head += line + "\r\n"; }

    // --- what is generated

    // More tokens are to be shown, and no error comes before.
    bool shows_more() const { return shown_ < visible() && !breaks(); }
    // The next tokens, as the inside of a JSON string. They are of the piece that comes next.
    std::string show();
    std::string show_all();
    // All that was shown, in one.
    const std::string& shown() const { return text_; }
    // An error comes next, and nothing after it.
    bool breaks() const { return plan_.breaks_after != 0 && events_ >= plan_.breaks_after; }
    // All tokens so far; what is not shown comes first.
    counts generated() const;
    // The next piece tells these counts.
    void tell(const counts& c);
    // Or these only.
    void tell_prompt(unsigned tokens);
    void tell_completion(unsigned tokens);

    // --- pieces

    void event(const std::string& data) { event(data, data); }
    // What of it the client gets is another thing.
    void event(const std::string& data, const std::string& seen);
    void event(const char* type, const std::string& data);
    // One that it does not get.
    void hidden_event(const std::string& data);
    // Of lines and arrays.
    void line(const std::string& text);
    void json(const std::string& text);

private:
    unsigned visible() const { return plan_.used.completion - plan_.used.reasoning; }
    std::string lines_of(std::string_view type, const std::string& data) const;
    void add(std::string bytes);

    const plan& plan_;
    script script_;
    so_far now_;
    std::string text_;
    std::size_t new_text_ = 0; // bytes that the next piece shows
    bool tells_completion_ = false;
    unsigned shown_ = 0; // tokens
    unsigned events_ = 0;
};

// What servers other than those of OpenAI's and Anthropic's APIs write.
void write_native(reply_writer& w);

} // namespace soak
