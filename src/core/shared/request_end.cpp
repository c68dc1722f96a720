#include "request_end.h"

namespace llm {

std::string_view outcome_name(outcome o)
{
    switch (o) {
    case outcome::unknown:
        break;
    case outcome::ok:
        return "ok";
    case outcome::incomplete:
        return "incomplete";
    case outcome::refused:
        return "refused";
    case outcome::client_abort:
        return "client_abort";
    case outcome::upstream_error:
        return "upstream_error";
    case outcome::cut:
        return "cut";
    case outcome::lost:
        return "lost";
    }
    return {};
}

std::string_view usage_source_name(usage_source s)
{
    switch (s) {
    case usage_source::none:
        break;
    case usage_source::estimated:
        return "estimated";
    case usage_source::partial:
        return "partial";
    case usage_source::upstream:
        return "upstream";
    }
    return "none";
}

} // namespace llm
