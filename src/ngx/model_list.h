// An upstream's list of models on its way to a key that may use certain models only: those that it may not
// use are taken out.
#pragma once

#include "reply_chain.h"

#include "core/reply/model_list_cut.h"

namespace llm {

struct request_ctx;

// What is kept of one list from one chain to the next. Lies in the request's pool.
struct model_list {
    model_list_cut cut;
    ngx_str_t held = ngx_null_string; // what is not decided on
    size_t held_room = 0;
    own_buffers buffers = {};
    bool failed = false; // it is none: nothing more of it goes out
};

// The request's path is one at which servers list their models, and the reply is JSON.
bool shows_models(const ngx_http_request_t* r);
// nullptr if there is no memory.
model_list* make_model_list(ngx_http_request_t* r, request_ctx& ctx);

// The edit of one chain.
class model_list_edit {
public:
    model_list_edit(ngx_http_request_t* r, model_list& list)
        : request_(r), list_(list), chain_(r->pool, list.buffers)
    {
    }

    // Makes of the chain the one that goes out, which may be empty. False if there is no memory.
    bool run(ngx_chain_t* in, ngx_chain_t*& out);
    // To be called when the chain has been passed on, or will not be.
    void passed_on() { chain_.passed_on(); }

private:
    bool take(ngx_buf_t* b);
    bool hold(std::string_view bytes);
    void fail(const char* why);

    ngx_http_request_t* request_;
    model_list& list_;
    reply_chain chain_;
};

} // namespace llm
