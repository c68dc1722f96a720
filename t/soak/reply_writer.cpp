#include "reply_writer.h"

#include <algorithm>
#include <utility>

namespace soak {

namespace {

struct word {
    std::string_view json; // the inside of a string
    std::size_t bytes;     // of text
};

// With some 4 bytes in each, as tokens of English have.
constexpr word words[] = {{" the", 4},      {" of", 3},   {"ing", 3},     {" model", 6},
                          {"\\n", 1},       {" an", 3},   {" answer", 7}, {"\xc3\xa9t\xc3\xa9", 5},
                          {" x", 2},        {" that", 5}, {"\\u00fc", 2}, {" usage:", 7},
                          {"\\\"a\\\"", 3}, {" data:", 6}};

} // namespace

std::string number(std::size_t n)
{
    return std::to_string(n);
}

reply_writer::reply_writer(const plan& p) : plan_(p)
{
    script_.type = "application/json";
    script_.is_json = true;
}

void reply_writer::begin_events()
{
    script_.type = plan_.array ? "text/event-stream" : "text/event-stream; charset=utf-8";
    script_.border = plan_.crlf ? "\r\n\r\n" : "\n\n";
    script_.is_json = false;
}

void reply_writer::begin_lines()
{
    script_.type = "application/x-ndjson";
    script_.border = "\n";
    script_.is_json = false;
}

void reply_writer::begin_array()
{
    script_.border = "\n";
}

std::string reply_writer::show()
{
    std::string out;
    for (const unsigned end = std::min(visible(), shown_ + plan_.grain); shown_ < end; shown_++) {
        const word& next = words[(plan_.prompt_bytes + shown_) % std::size(words)];
        out += next.json;
        new_text_ += next.bytes;
    }
    text_ += out;
    events_++;
    return out;
}

std::string reply_writer::show_all()
{
    while (shown_ < visible()) {
        show();
    }
    return text_;
}

counts reply_writer::generated() const
{
    counts c = plan_.used;
    c.completion = c.reasoning + shown_;
    return c;
}

void reply_writer::tell(const counts& c)
{
    tell_completion(c.completion);
    now_.told = c;
    now_.tells_prompt = true;
}

void reply_writer::tell_prompt(unsigned tokens)
{
    now_.told.prompt = tokens;
    now_.tells_prompt = true;
}

void reply_writer::tell_completion(unsigned tokens)
{
    now_.told.completion = tokens;
    now_.tells_completion = true;
    tells_completion_ = true;
}

void reply_writer::add(std::string bytes)
{
    now_.text += new_text_;
    now_.texts += new_text_ != 0;
    if (std::exchange(tells_completion_, false)) {
        now_.text = 0;
        now_.texts = 0;
    }
    script_.pieces.push_back({std::move(bytes), std::exchange(new_text_, 0), now_});
    script_.ends_badly = breaks();
}

std::string reply_writer::lines_of(std::string_view type, const std::string& data) const
{
    const std::string end = plan_.crlf ? "\r\n" : "\n";
    return (type.empty() ? "" : "event: " + std::string(type) + end) + "data: " + data + end + end;
}

void reply_writer::event(const std::string& data, const std::string& seen)
{
    add(lines_of({}, data));
    script_.seen += lines_of({}, seen);
}

void reply_writer::event(const char* type, const std::string& data)
{
    add(lines_of(type, data));
    script_.seen += script_.pieces.back().bytes;
}

void reply_writer::hidden_event(const std::string& data)
{
    add(lines_of({}, data));
}

void reply_writer::line(const std::string& text)
{
    add(text + "\n");
    script_.seen += text + "\n";
}

void reply_writer::json(const std::string& text)
{
    add(text);
    script_.seen += text;
    script_.ends_badly = false;
}

} // namespace soak
