#include "json_text_writer.h"

#include "core/base/json_text.h"

namespace llm::ctl {

void json_text_writer::part()
{
    if (comma_) {
        to_ += ',';
    }
    comma_ = true;
}

void json_text_writer::begin(char c)
{
    part();
    to_ += c;
    comma_ = false;
}

void json_text_writer::end(char c)
{
    to_ += c;
    comma_ = true;
}

void json_text_writer::name(std::string_view name)
{
    text(name);
    to_ += ':';
    comma_ = false;
}

void json_text_writer::text(std::string_view text)
{
    part();
    to_ += json_quoted(text);
}

void json_text_writer::number(uint64_t value)
{
    raw(std::to_string(value));
}

void json_text_writer::raw(std::string_view json)
{
    part();
    to_ += json;
}

std::string json_quoted(std::string_view text)
{
    std::string quoted(text.size() * 6 + 2, '"');
    const size_t length = write_json_text(text, quoted.data() + 1);
    quoted.resize(length + 1);
    return quoted + '"';
}

} // namespace llm::ctl
