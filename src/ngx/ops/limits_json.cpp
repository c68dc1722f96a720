#include "limits_json.h"

#include "ngx/ngx.hpp"

namespace llm {

void put_limits(json_writer& out, std::initializer_list<limit_list> lists)
{
    out.begin_array();
    for (const limit_list& list : lists) {
        for (const limit_state& l : list.limits) {
            out.begin_object();
            out.field("limit", limit_name_of(l.kind));
            out.field("per", list.per);
            if (l.period.empty()) {
                out.null("period");
            } else {
                out.field("period", l.period);
            }
            out.field("maximum", l.maximum);
            out.field("remaining", l.remaining);
            if (l.reset_ms == forever) {
                out.null("reset_ms");
            } else {
                out.field("reset_ms", l.reset_ms);
            }
            out.end_object();
        }
    }
    out.end_array();
}

void put_time(json_writer& out, std::string_view name, int64_t seconds)
{
    if (seconds == 0) {
        out.null(name);
        return;
    }
    ngx_tm_t tm;
    ngx_gmtime(static_cast<time_t>(seconds), &tm);
    u_char text[sizeof("9999-12-31T23:59:59Z") + 16];
    const u_char* end =
        ngx_snprintf(text, sizeof text, "%4d-%02d-%02dT%02d:%02d:%02dZ", tm.ngx_tm_year, tm.ngx_tm_mon,
                     tm.ngx_tm_mday, tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
    out.field(name, std::string_view(reinterpret_cast<char*>(text), static_cast<size_t>(end - text)));
}

} // namespace llm
