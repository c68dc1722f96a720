// How each API writes its errors: what the table of APIs refers to.
#pragma once

#include "error_body.h"

namespace llm {

// Each writes to `out`, which has room for error_text_bytes(), and returns the end. Bodies without a line
// end.
char* put_openai_error(char* out, const error_text& error);
char* put_anthropic_error(char* out, const error_text& error);
char* put_ollama_error(char* out, const error_text& error);
char* put_gemini_error(char* out, const error_text& error);

// Events with their empty line.
char* put_openai_error_event(char* out, const error_text& error);
char* put_responses_error_event(char* out, const error_text& error);
char* put_anthropic_error_event(char* out, const error_text& error);
char* put_gemini_error_event(char* out, const error_text& error);

// Parts that shapes have in common: text as it is; a JSON string, or null for an empty one; the message, in
// quotes, with its detail.
char* put_text(char* out, std::string_view text);
char* put_string_or_null(char* out, std::string_view text);
char* put_message(char* out, const error_text& error);

} // namespace llm
