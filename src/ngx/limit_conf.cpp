#include "limit_conf.h"

#include "conf.h"
#include "conf_args.h"
#include "scope_names.h"

#include "keys/limit_fields.h"

#include <new>

namespace llm {

namespace {

// What one llm_limit says, as it is read.
struct limit_options {
    subject_kind scope = subject_kind::key;
    limits what;
    bool dry_run = false;
    bool hard = false;
};

bool read_scope(std::string_view text, limit_options& rule)
{
    for (const scope_name& s : scope_names) {
        if (s.name == text) {
            rule.scope = s.scope;
            return true;
        }
    }
    return false;
}

// One `name=value`. What was expected, for a message; empty if the value is good.
std::string_view read_option(std::string_view name, std::string_view value, limit_options& rule)
{
    if (name == "per") {
        return read_scope(value, rule) ? "" : "key, user, model, address or zone";
    }
    for (const limit_field& field : limit_fields) {
        if (field.name == name) {
            return field.read(value, rule.what) ? "" : field.expected;
        }
    }
    return "per, requests, burst, concurrency, tokens, token_burst, quota, failures, dry_run or hard";
}

// What is wrong with the parameters together; empty if nothing.
std::string_view contradiction(const limit_options& rule)
{
    if (!rule.what.any()) {
        return "limits nothing";
    }
    if (rule.what.burst >= 0 && !rule.what.requests.amount) {
        return "has a \"burst\" without \"requests\"";
    }
    if (rule.what.token_burst >= 0 && !rule.what.tokens.amount) {
        return "has a \"token_burst\" without \"tokens\"";
    }
    if (rule.what.failures.amount && rule.scope != subject_kind::address) {
        return "has \"failures\", which needs \"per=address\"";
    }
    if (rule.hard && rule.what.window == quota_window::none) {
        return "is \"hard\" without a \"quota\"";
    }
    return {};
}

// Whether the parameter at `i` has the name of one before it.
bool stands_before(ngx_conf_t* cf, ngx_uint_t i)
{
    auto* value = static_cast<ngx_str_t*>(cf->args->elts);
    auto name = [&](ngx_uint_t n) { return view(value[n]).substr(0, view(value[n]).find('=')); };
    for (ngx_uint_t j = 1; j < i; j++) {
        if (name(j) == name(i)) {
            return true;
        }
    }
    return false;
}

// A lease keeps account of so many rates for each of those that it names.
bool too_many(const location_conf& lcf, const limit_options& rule)
{
    size_t requests = rule.what.requests.amount != 0;
    size_t tokens = rule.what.tokens.amount != 0;
    for (const limit_rule& other : rules_of(lcf)) {
        if (other.scope() == rule.scope) {
            requests += other.requests().limits();
            tokens += other.tokens().limits();
        }
    }
    return requests > lease_hold::max_rates || tokens > lease_hold::max_rates;
}

} // namespace

bool add_level(ngx_conf_t* cf, const ngx_array_t* rules, const policy_level* request)
{
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    auto* level = static_cast<limit_level*>(ngx_array_push(&mcf.levels));
    if (level) {
        *level = {rules, request, false, false, cf->conf_file->file.name, cf->conf_file->line};
    }
    return level != nullptr;
}

ngx_int_t check_levels(ngx_conf_t* cf)
{
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    for (limit_level& level : levels_of(mcf)) {
        if (!level.in_force) {
            ngx_log_error(
                NGX_LOG_WARN, cf->log, 0,
                "\"%s\" limits nothing, since no \"llm_api_keys\" is in force where it is, in %V:%ui",
                level.request ? "llm_request" : "llm_limit", &level.conf_file, level.conf_line);
        } else if (level.request && !level.is_read_for) {
            ngx_log_error(
                NGX_LOG_EMERG, cf->log, 0,
                "\"llm_request\" cannot hold where \"llm_body off\" is in force: what a request asks "
                "is not read there, in %V:%ui",
                &level.conf_file, level.conf_line);
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

char* set_limit(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    auto* value = static_cast<ngx_str_t*>(cf->args->elts);
    limit_options rule;

    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        std::string_view text = view(value[i]);
        if (stands_before(cf, i)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate parameter \"%V\" in \"llm_limit\"",
                               &value[i]);
            return conf_error();
        }
        if (text == "dry_run") {
            rule.dry_run = true;
            continue;
        }
        if (text == "hard") {
            rule.hard = true;
            continue;
        }
        size_t equals = text.find('=');
        std::string_view rest = equals == std::string_view::npos ? "" : text.substr(equals + 1);
        ngx_str_t expected = to_ngx(read_option(text.substr(0, equals), rest, rule));
        if (expected.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\" in \"llm_limit\": expected %V",
                               &value[i], &expected);
            return conf_error();
        }
    }
    ngx_str_t wrong = to_ngx(contradiction(rule));
    if (wrong.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"llm_limit\" %V", &wrong);
        return conf_error();
    }
    if (!lcf.rules) {
        lcf.rules = ngx_array_create(cf->pool, 4, sizeof(limit_rule));
        if (!add_level(cf, lcf.rules, nullptr)) {
            return conf_error();
        }
    }
    if (lcf.rules && too_many(lcf, rule)) {
        ngx_conf_log_error(
            NGX_LOG_EMERG, cf, 0,
            "too many \"llm_limit\" with \"tokens\" or \"requests\" for the same \"per\" at one level: "
            "expected at most %uz",
            lease_hold::max_rates);
        return conf_error();
    }
    void* slot = lcf.rules ? ngx_array_push(lcf.rules) : nullptr;
    if (!slot) {
        return conf_error();
    }
    new (slot) limit_rule(rule.scope, rule.what, rule.dry_run, rule.hard);
    return NGX_CONF_OK;
}

char* set_usage_weights(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    auto* value = static_cast<ngx_str_t*>(cf->args->elts);

    if (lcf.weights) {
        return const_cast<char*>("is duplicate");
    }
    void* memory = ngx_palloc(cf->pool, sizeof(usage_weights));
    if (!memory) {
        return conf_error();
    }
    lcf.weights = new (memory) usage_weights;
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        std::string_view text = view(value[i]);
        size_t equals = text.find('=');
        std::string_view name = text.substr(0, equals);
        uint32_t* to = name == "prompt"       ? &lcf.weights->prompt
                       : name == "cached"     ? &lcf.weights->cached
                       : name == "completion" ? &lcf.weights->completion
                                              : nullptr;
        ngx_int_t thousandths = NGX_ERROR;
        if (to && equals != std::string_view::npos) {
            ngx_str_t number = to_ngx(text.substr(equals + 1));
            thousandths = ngx_atofp(number.data, number.len, 3);
        }
        if (thousandths == NGX_ERROR || thousandths > 1000000 || stands_before(cf, i)) {
            ngx_conf_log_error(
                NGX_LOG_EMERG, cf, 0,
                "invalid parameter \"%V\" in \"llm_usage_weights\": expected prompt=, cached= or "
                "completion=, each once, and a number from 0 to 1000 such as 0.25",
                &value[i]);
            return conf_error();
        }
        *to = static_cast<uint32_t>(thousandths);
    }
    return NGX_CONF_OK;
}

} // namespace llm
