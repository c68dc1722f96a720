// Errors in the shape of the API that the client called.
#pragma once

#include "request.h"

namespace llm {

// Answers with this error, for a content handler or for who then finalizes the request. `detail` stands in
// the answer's message.
ngx_int_t send_error(ngx_http_request_t* r, const refusal_answer& answer, std::string_view detail);

} // namespace llm
