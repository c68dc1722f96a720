#include "key_rules.h"

namespace llm {

std::optional<std::span<const limit_rule>> key_rules_of(main_conf& conf, ngx_pool_t* pool)
{
    ngx_array_t rules;
    if (ngx_array_init(&rules, pool, 8, sizeof(limit_rule)) != NGX_OK) {
        return {};
    }
    for (const limit_level& level : levels_of(conf)) {
        if (!level.rules) {
            continue;
        }
        const auto* of = static_cast<const limit_rule*>(level.rules->elts);
        for (const limit_rule& rule : std::span(of, level.in_force ? level.rules->nelts : 0)) {
            if (rule.scope() != subject_kind::key) {
                continue;
            }
            auto* kept = static_cast<limit_rule*>(ngx_array_push(&rules));
            if (!kept) {
                return {};
            }
            *kept = rule;
        }
    }
    return std::span<const limit_rule>(static_cast<limit_rule*>(rules.elts), rules.nelts);
}

} // namespace llm
