#include "policy_conf.h"

#include "conf.h"
#include "conf_args.h"
#include "limit_conf.h"

#include <algorithm>
#include <iterator>
#include <new>

namespace llm {

namespace {

policy_level* make_level(ngx_conf_t* cf)
{
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    auto* level = cleanup ? new (std::nothrow) policy_level : nullptr;
    if (!level) {
        return nullptr;
    }
    cleanup->handler = [](void* data) { delete static_cast<policy_level*>(data); };
    cleanup->data = level;
    static uint64_t last_number = 0;
    level->number = ++last_number;
    return level;
}

char* fail(ngx_conf_t* cf, const ngx_str_t& argument, const std::string& wrong)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\" in \"llm_request\": %s", &argument,
                       wrong.c_str());
    return conf_error();
}

// One rule; `value` is null for those that have none.
char* add_rule(ngx_conf_t* cf, request_rules& rules, policy_action action, const ngx_str_t& field,
               const ngx_str_t* value)
{
    if (const std::string wrong = request_rules::field_fault(action, view(field)); !wrong.empty()) {
        return fail(cf, field, wrong);
    }
    std::string text;
    if (value) {
        const std::optional<std::string> json = json_of_argument(view(*value));
        if (!json) {
            return fail(cf, *value,
                        "expected JSON, such as 0.7, true, '\"some text\"' or '{\"a\":1}', or a word that "
                        "stands for a string; true, none, on and the like stand for none: '\"none\"'");
        }
        text = *json;
        if (const std::string wrong = request_rules::value_fault(action, view(field), text); !wrong.empty()) {
            return fail(cf, *value, wrong);
        }
    }
    const std::string wrong = rules.add(action, view(field), text);
    return wrong.empty() ? NGX_CONF_OK : fail(cf, field, wrong);
}

} // namespace

char* set_request(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    const ngx_str_t* value = arguments(cf);
    const auto* const name = std::find(std::begin(policy_actions), std::end(policy_actions), view(value[1]));
    if (name == std::end(policy_actions)) {
        return fail(cf, value[1], "expected allow, drop, cap, default or set");
    }
    const auto action = static_cast<policy_action>(name - std::begin(policy_actions));
    if (!lcf.request) {
        lcf.request = make_level(cf);
        if (!lcf.request || !add_level(cf, nullptr, lcf.request)) {
            return conf_error();
        }
    }
    policy_level& level = *lcf.request;
    const bool has_value = action != policy_action::allow && action != policy_action::drop;
    if (has_value && cf->args->nelts != 4) {
        return const_cast<char*>("needs the name of a field and a value");
    }
    for (ngx_uint_t i = 2; i < (has_value ? 3 : cf->args->nelts); i++) {
        char* rc = add_rule(cf, level.rules, action, value[i], has_value ? &value[3] : nullptr);
        if (rc != NGX_CONF_OK) {
            return rc;
        }
    }
    level.policy = {};
    if (!level.policy.add(level.rules.text(), list_of_location) || !level.policy.finish()) {
        return const_cast<char*>("names too many fields");
    }
    return NGX_CONF_OK;
}

} // namespace llm
