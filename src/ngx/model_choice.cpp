#include "model_choice.h"

#include "model_conf.h"
#include "request_body.h"

#include <algorithm>

namespace llm {

namespace {

// As a form's part a name is written together with what stands between it and the begin of its header.
constexpr uint64_t longest_header = 4096;

bool stands_too_far(const request_ctx& ctx)
{
    const auto& place = ctx.asked.place;
    return place.header != 0 && place.at.begin - place.header > longest_header;
}

bool go_to_the_same(const ngx_http_complex_value_t* a, const ngx_http_complex_value_t* b)
{
    return a == b || (a && b && view(a->value) == view(b->value));
}

// A server may turn to this model as well: it must be one that goes where the request goes, at its price, and
// by the name that stands in the body.
bool may_stand_beside(const model_level& level, const model_row& chosen, std::string_view other)
{
    const model_row* row = level.table.find(short_model_name(other));
    return row && row->as.empty() && row->weights({}) == chosen.weights({})
           && go_to_the_same(level.to_of(*row), level.to_of(chosen));
}

bool all_may_stand_beside(const model_level& level, const model_row& chosen, std::string_view names)
{
    while (!names.empty()) {
        const size_t end = names.find('\0');
        if (!may_stand_beside(level, chosen, names.substr(0, end))) {
            return false;
        }
        names.remove_prefix(std::min(names.size(), end + 1));
    }
    return true;
}

// What is for no model goes where all go, or else where the first row says.
const model_row* row_for_none(const model_level& level)
{
    const model_row* any = level.table.find_any();
    if (any && level.to_of(*any)) {
        return any;
    }
    for (const model_row& row : level.table.rows()) {
        if (level.to_of(row)) {
            return &row;
        }
    }
    return nullptr;
}

// Under a name of a client's own choice nothing is counted that the table calls something else: limits and
// labels would be as many as clients can think of names.
std::string_view counted_name(const model_row& row, std::string_view asked)
{
    if (!row.is_prefix) {
        return row.name;
    }
    return row.as.empty() ? asked : row.as;
}

} // namespace

refusal detail::choose_model(ngx_http_request_t* r, request_ctx& ctx, const model_level* level)
{
    const ngx_str_t counted = ctx.holds_lease() ? ctx.routed.counted : ngx_str_t{0, nullptr};
    ctx.routed = {};
    ctx.routed.counted = counted;
    if (!level) {
        return refusal::none;
    }
    const model_table& table = level->table;
    const bool needs_one = ctx.asked.names_model() || needs_model(r->main, ctx);
    if (needs_one && ctx.asked.unclear_model && table.tells_apart()) {
        return hides(r, ctx, hidden_part::models) && hides(r, ctx, hidden_part::fields)
                   ? refusal::hidden_models
                   : refusal::unclear_model;
    }
    const std::string_view asked = view(ctx.asked.model);
    const model_row* row = ctx.asked.names_model() ? table.find(short_model_name(asked)) : table.find_any();
    if (!row && needs_one) {
        return ctx.asked.names_model() ? refusal::model : refusal::missing_model;
    }
    if (row && ctx.asked.more_models.len != 0 && table.tells_apart()
        && (!row->as.empty() || !all_may_stand_beside(*level, *row, view(ctx.asked.more_models)))) {
        return refusal::unclear_model;
    }
    if (row && !row->as.empty() && stands_too_far(ctx)) {
        return refusal::unclear_model;
    }
    // A form gets no part that it has not.
    const bool has_place = ctx.asked.names_model() || ctx.asked.place.is_known;
    if (needs_one && !row->as.empty() && !has_place && ctx.asked.has_body) {
        return refusal::missing_model;
    }
    ctx.routed.level = level;
    ctx.routed.row = needs_one ? row : row_for_none(*level);
    if (!needs_one) {
        return refusal::none;
    }
    ctx.routed.renames = !row->as.empty() && has_place;
    // A lease that is held has the name by which it was taken.
    if ((ctx.asked.names_model() || ctx.routed.renames) && !ctx.holds_lease()) {
        ctx.routed.counted = to_ngx(counted_name(*row, asked));
    }
    return refusal::none;
}

} // namespace llm
