#include "error_shapes.h"

#include "core/base/json_text.h"
#include "core/base/number_text.h"

namespace llm {

namespace {

// The inside of `error`, as OpenAI has it.
char* put_openai_fields(char* out, const error_text& error)
{
    out = put_text(out, "{\"message\":");
    out = put_message(out, error);
    out = put_text(out, ",\"type\":\"");
    out = put_text(out, error.answer.type);
    out = put_text(out, "\",\"param\":null,\"code\":");
    out = put_string_or_null(out, error.answer.code);
    return put_text(out, "}");
}

// Without the brace that ends it.
char* open_anthropic_error(char* out, const error_text& error)
{
    out = put_text(out, "{\"type\":\"error\",\"error\":{\"type\":\"");
    out = put_text(out, anthropic_type(error.answer.status));
    out = put_text(out, "\",\"message\":");
    out = put_message(out, error);
    return put_text(out, "}");
}

// google.rpc.Code's name for a status, as Google's APIs map them.
std::string_view google_status(unsigned status)
{
    switch (status) {
    case 401:
        return "UNAUTHENTICATED";
    case 403:
        return "PERMISSION_DENIED";
    case 404:
        return "NOT_FOUND";
    case 402:
    case 429:
        return "RESOURCE_EXHAUSTED";
    case 502:
    case 503:
        return "UNAVAILABLE";
    case 504:
        return "DEADLINE_EXCEEDED";
    default:
        return status < 500 ? "INVALID_ARGUMENT" : "INTERNAL";
    }
}

} // namespace

char* put_text(char* out, std::string_view text)
{
    return out + text.copy(out, text.size());
}

char* put_string_or_null(char* out, std::string_view text)
{
    if (text.empty()) {
        return put_text(out, "null");
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
    out = put_text(out, message.substr(0, mark));
    if (mark != std::string_view::npos) {
        out += write_json_text(error.detail, out);
        out = put_text(out, message.substr(mark + 1));
    }
    *out++ = '"';
    return out;
}

char* put_openai_error(char* out, const error_text& error)
{
    out = put_text(out, "{\"error\":");
    out = put_openai_fields(out, error);
    return put_text(out, "}");
}

char* put_openai_error_event(char* out, const error_text& error)
{
    out = put_text(out, "data: ");
    out = put_openai_error(out, error);
    return put_text(out, "\n\n");
}

// OpenAI documents the fields at the top, and sends them in `error`, without which its SDKs take the event
// for one like any other. Both are there, so that both kinds of client see it. The number that is due is not
// known here; strict readers want one, and nobody checks which.
char* put_responses_error_event(char* out, const error_text& error)
{
    out = put_text(out, "event: error\ndata: {\"type\":\"error\",\"code\":");
    out = put_string_or_null(out, error.answer.code);
    out = put_text(out, ",\"message\":");
    out = put_message(out, error);
    out = put_text(out, ",\"param\":null,\"sequence_number\":0,\"error\":");
    out = put_openai_fields(out, error);
    return put_text(out, "}\n\n");
}

char* put_anthropic_error(char* out, const error_text& error)
{
    out = open_anthropic_error(out, error);
    out = put_text(out, ",\"request_id\":");
    out = put_string_or_null(out, error.request_id);
    return put_text(out, "}");
}

char* put_anthropic_error_event(char* out, const error_text& error)
{
    out = put_text(out, "event: error\ndata: ");
    out = open_anthropic_error(out, error);
    return put_text(out, "}\n\n");
}

char* put_ollama_error(char* out, const error_text& error)
{
    out = put_text(out, "{\"error\":");
    out = put_message(out, error);
    return put_text(out, "}");
}

char* put_gemini_error(char* out, const error_text& error)
{
    out = put_text(out, "{\"error\":{\"code\":");
    out = put_number(out, error.answer.status);
    out = put_text(out, ",\"message\":");
    out = put_message(out, error);
    out = put_text(out, ",\"status\":\"");
    out = put_text(out, google_status(error.answer.status));
    return put_text(out, "\"}}");
}

// On one line and without an `event`: Google's clients pass over events that begin otherwise.
char* put_gemini_error_event(char* out, const error_text& error)
{
    out = put_text(out, "data: ");
    out = put_gemini_error(out, error);
    return put_text(out, "\n\n");
}

} // namespace llm
