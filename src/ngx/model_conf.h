// The directive `llm_model`: the table of models of one level of the configuration.
#pragma once

#include "ngx.hpp"

#include "core/api/model_table.h"

#include <span>

namespace llm {

struct main_conf;
struct zone_conf;

// The llm_model of one level. Lies in the cycle's pool, as its rows do.
struct model_level {
    ngx_array_t rows; // model_row
    ngx_array_t to;   // ngx_http_complex_value_t*, one for each row; nullptr: it has no `to`
    model_table table;
    bool in_force;    // some level with keys has it
    bool is_read_for; // and reads bodies
    // Where the first row stands, for messages.
    ngx_str_t conf_file;
    ngx_uint_t conf_line;

    const ngx_http_complex_value_t* to_of(const model_row& row) const
    {
        const auto* all = static_cast<ngx_http_complex_value_t* const*>(to.elts);
        return all[&row - table.rows().data()];
    }
};

char* set_model(ngx_conf_t* cf, ngx_command_t*, void* conf);

// At the end of the configuration: makes the tables ready, and warns of what in them cannot work.
ngx_int_t finish_model_tables(ngx_conf_t* cf);
// What the tables name has counts of its own in the book from the beginning. Takes the lock.
void name_table_models(main_conf& conf, zone_conf& zone);

} // namespace llm
