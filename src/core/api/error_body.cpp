#include "error_body.h"

#include "api_table.h"
#include "error_shapes.h"

namespace llm {

std::string_view anthropic_type(unsigned status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 402:
        return "billing_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_error";
    case 503:
        return "overloaded_error";
    case 504:
        return "timeout_error";
    default:
        return status < 500 ? "invalid_request_error" : "api_error";
    }
}

size_t error_text_bytes(const error_text& error)
{
    // The Responses API's event has message and code twice, and the most around them.
    const refusal_answer& a = error.answer;
    return 2 * (a.message.size() + 6 * error.detail.size() + 6 * a.code.size()) + a.type.size()
           + 6 * error.request_id.size() + 240;
}

size_t write_error_body(api as, const error_text& error, char* out)
{
    char* p = row_of(as).put_error(out, error);
    *p++ = '\n';
    return static_cast<size_t>(p - out);
}

size_t write_error_event(api as, stream_form form, const error_text& error, char* out)
{
    if (form == stream_form::events) {
        return static_cast<size_t>(row_of(as).put_error_event(out, error) - out);
    }
    // Ollama's, and those of servers that are like it.
    char* p = put_ollama_error(out, error);
    *p++ = '\n';
    return static_cast<size_t>(p - out);
}

} // namespace llm
