// Pages for browsers, in the place of an answer for programs.
#pragma once

#include "page_document.h"

#include "ngx/ngx.hpp"

#include <optional>

namespace llm {

// To be called by a content handler after begin_content. Sends the page if the client would rather have HTML
// than JSON, and returns what the handler then has to return; else nothing. Either way the reply says that it
// hangs on Accept. `mark` is what the element <body> gets beside, for the script.
std::optional<ngx_int_t> offer_page(ngx_http_request_t* r, const page_document& page,
                                    std::string_view mark = {});

} // namespace llm
