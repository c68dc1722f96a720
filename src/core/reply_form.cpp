#include "reply_form.h"

#include "bytes.h"

namespace llm {

namespace {

bool is_type(std::string_view content_type, std::string_view name)
{
    if (content_type.size() < name.size()) {
        return false;
    }
    for (size_t i = 0; i < name.size(); ++i) {
        if (ascii_lower(content_type[i]) != name[i]) {
            return false;
        }
    }
    return content_type.size() == name.size()
           || content_type.find_first_of("; \t", name.size()) == name.size();
}

} // namespace

reply_form reply_form_of(std::string_view content_type)
{
    while (!content_type.empty() && (content_type.front() == ' ' || content_type.front() == '\t')) {
        content_type.remove_prefix(1);
    }
    if (is_type(content_type, "text/event-stream")) {
        return reply_form::sse;
    }
    if (is_type(content_type, "application/x-ndjson")) {
        return reply_form::lines;
    }
    return is_type(content_type, "application/json") ? reply_form::json : reply_form::none;
}

} // namespace llm
