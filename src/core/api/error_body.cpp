#include "error_body.h"

#include "core/base/utf8.h"

namespace llm {

namespace {

char* put(char* out, std::string_view text)
{
    return out + text.copy(out, text.size());
}

// A string, or null for an empty one.
char* put_or_null(char* out, std::string_view text)
{
    if (text.empty()) {
        return put(out, "null");
    }
    *out++ = '"';
    out += write_json_text(text, out);
    *out++ = '"';
    return out;
}

char* put_message(char* out, const error_text& error)
{
    std::string_view message = error.answer.message;
    size_t mark = message.find('%');
    *out++ = '"';
    out = put(out, message.substr(0, mark));
    if (mark != std::string_view::npos) {
        out += write_json_text(error.detail, out);
        out = put(out, message.substr(mark + 1));
    }
    *out++ = '"';
    return out;
}

char* put_openai(char* out, const error_text& error)
{
    out = put(out, "{\"message\":");
    out = put_message(out, error);
    out = put(out, ",\"type\":\"");
    out = put(out, error.answer.type);
    out = put(out, "\",\"param\":null,\"code\":");
    out = put_or_null(out, error.answer.code);
    return put(out, "}");
}

char* put_openai_body(char* out, const error_text& error)
{
    out = put(out, "{\"error\":");
    out = put_openai(out, error);
    return put(out, "}");
}

char* put_anthropic(char* out, const error_text& error)
{
    out = put(out, "{\"type\":\"error\",\"error\":{\"type\":\"");
    out = put(out, anthropic_type(error.answer.status));
    out = put(out, "\",\"message\":");
    out = put_message(out, error);
    return put(out, "}");
}

char* put_ollama(char* out, const error_text& error)
{
    out = put(out, "{\"error\":");
    out = put_message(out, error);
    return put(out, "}");
}

// OpenAI documents the fields at the top, and sends them in `error`, without which its SDKs take the event
// for one like any other. Both are there, so that both kinds of client see it. The number that is due is not
// known here; strict readers want one, and nobody checks which.
char* put_responses_event(char* out, const error_text& error)
{
    out = put(out, "{\"type\":\"error\",\"code\":");
    out = put_or_null(out, error.answer.code);
    out = put(out, ",\"message\":");
    out = put_message(out, error);
    out = put(out, ",\"param\":null,\"sequence_number\":0,\"error\":");
    out = put_openai(out, error);
    return put(out, "}");
}

} // namespace

std::string_view anthropic_type(unsigned status)
{
    switch (status) {
    case 401:
        return "authentication_error";
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
    char* p = out;
    switch (as) {
    case api::openai:
    case api::responses:
        p = put_openai_body(p, error);
        break;
    case api::anthropic:
        p = put_anthropic(p, error);
        p = put(p, ",\"request_id\":");
        p = put_or_null(p, error.request_id);
        p = put(p, "}");
        break;
    case api::ollama:
        p = put_ollama(p, error);
        break;
    }
    *p++ = '\n';
    return static_cast<size_t>(p - out);
}

size_t write_error_event(api as, stream_form form, const error_text& error, char* out)
{
    if (form == stream_form::json_lines) {
        char* p = put_ollama(out, error);
        *p++ = '\n';
        return static_cast<size_t>(p - out);
    }
    char* p = out;
    if (as == api::anthropic) {
        p = put(p, "event: error\ndata: ");
        p = put_anthropic(p, error);
        p = put(p, "}");
    } else if (as == api::responses) {
        p = put(p, "event: error\ndata: ");
        p = put_responses_event(p, error);
    } else {
        // Ollama has no events of its own.
        p = put(p, "data: ");
        p = put_openai_body(p, error);
    }
    p = put(p, "\n\n");
    return static_cast<size_t>(p - out);
}

size_t write_json_text(std::string_view text, char* out)
{
    static constexpr char hex[] = "0123456789abcdef";
    char* p = out;
    for (size_t i = 0; i < text.size();) {
        char c = text[i];
        auto byte = static_cast<uint8_t>(c);
        size_t length = utf8_length(text.substr(i));
        if (length != 1) {
            p = length ? put(p, text.substr(i, length)) : put(p, "?");
            i += length ? length : 1;
            continue;
        }
        if (c == '"' || c == '\\') {
            *p++ = '\\';
            *p++ = c;
        } else if (byte < 0x20 || byte == 0x7f) {
            p = put(p, "\\u00");
            *p++ = hex[byte >> 4];
            *p++ = hex[byte & 15];
        } else {
            *p++ = c;
        }
        i++;
    }
    return static_cast<size_t>(p - out);
}

} // namespace llm
