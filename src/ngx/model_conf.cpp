#include "model_conf.h"

#include "clock.h"
#include "conf.h"
#include "conf_args.h"

#include "core/base/chars.h"
#include "core/base/json_text.h"
#include "core/base/utf8_check.h"
#include "core/shared/estimate.h"

#include <algorithm>
#include <type_traits>

namespace llm {

namespace {

constexpr std::string_view expected =
    "to=, as=, prompt=, cached=, completion= (numbers from 0 to 1000 such as 0.25) or max_tokens=, each once";

// What is wrong with a name, or nothing.
std::string_view fault_of_name(std::string_view name)
{
    if (name.empty()) {
        return "is empty";
    }
    if (name.size() > model_row::max_name) {
        return "is too long: expected at most 128 bytes";
    }
    if (has_control(name) || !is_utf8(name)) {
        return "has control characters, or is not UTF-8";
    }
    if (name.find('$') != std::string_view::npos) {
        return "has a \"$\": only \"to=\" takes variables";
    }
    if (name.find('*') != std::string_view::npos) {
        return "has a \"*\" elsewhere than at its end";
    }
    return {};
}

// The parameters, as they are written.
constexpr std::string_view parameters[] = {"to=", "as=", "prompt=", "cached=", "completion=", "max_tokens="};

// What is wrong with a row's name as what other directives and programs would take: a pattern, a list, or a
// parameter where the name was forgotten. Such a row would never hold. Nothing if it is a name.
std::string_view fault_of_row(std::string_view text)
{
    if (std::any_of(std::begin(parameters), std::end(parameters),
                    [text](std::string_view each) { return text.starts_with(each); })) {
        return "is a parameter: expected the name of a model before it";
    }
    if (text.starts_with('~')) {
        return "begins with \"~\": there are no patterns but a \"*\" at the end";
    }
    if (text.find(',') != std::string_view::npos) {
        return "has a \",\": expected one name, and an \"llm_model\" for each";
    }
    return {};
}

// What is wrong with a row's name, its star included. `models/NAME` is another spelling of NAME to Gemini's
// API, and so is looked for as that.
std::string_view read_name(std::string_view text, model_row& row)
{
    if (const std::string_view fault = fault_of_row(text); !fault.empty()) {
        return fault;
    }
    row.is_prefix = text.ends_with('*');
    row.name = text.substr(0, text.size() - row.is_prefix);
    if (row.fits_all()) {
        return {};
    }
    if (row.name.starts_with("models/")) {
        return "begins with \"models/\", which is left out of what clients ask for";
    }
    return fault_of_name(row.name);
}

bool read_weight(std::string_view text, uint32_t& to)
{
    ngx_str_t number = to_ngx(text);
    const ngx_int_t thousandths = ngx_atofp(number.data, number.len, 3);
    to = static_cast<uint32_t>(thousandths);
    return thousandths != NGX_ERROR && thousandths <= 1000000;
}

bool read_as(ngx_conf_t* cf, std::string_view text, model_row& row)
{
    auto* json = static_cast<char*>(ngx_pnalloc(cf->pool, text.size() * 6 + 2));
    if (!json) {
        return false;
    }
    json[0] = '"';
    const size_t size = write_json_text(text, json + 1);
    json[size + 1] = '"';
    row.as = text;
    row.as_json = {json, size + 2};
    return true;
}

bool compile(ngx_conf_t* cf, std::string_view text, ngx_http_complex_value_t*& to)
{
    to = make<ngx_http_complex_value_t>(cf->pool);
    ngx_str_t value = to_ngx(text);
    ngx_http_compile_complex_value_t compiled = {};
    compiled.cf = cf;
    compiled.value = &value;
    compiled.complex_value = to;
    return to && ngx_http_compile_complex_value(&compiled) == NGX_OK;
}

// What is wrong with where a row goes, or nothing. `proxy_pass http://$llm_upstream...` puts a scheme before
// it and a path behind it. What a variable stands for is known only when a request comes.
std::string_view fault_of_place(ngx_conf_t* cf, std::string_view text)
{
    constexpr std::string_view fault = "is none: expected the name of an \"upstream\" block or a name or "
                                       "address with a port, without \"http://\" "
                                       "and without a path";
    if (text.find("://") != std::string_view::npos) {
        return fault;
    }
    if (text.empty() || text.find('$') != std::string_view::npos || text.starts_with("unix:")) {
        return {};
    }
    ngx_url_t url = {};
    url.url = to_ngx(text);
    url.default_port = 80;
    url.no_resolve = 1;
    const bool is_place = text.find_first_of("/?#@ ") == std::string_view::npos && !has_control(text)
                          && ngx_parse_url(cf->temp_pool, &url) == NGX_OK;
    return is_place ? "" : fault;
}

// What is wrong with a parameter's value beside what is expected of all, or nothing.
std::string_view fault_of_value(ngx_conf_t* cf, std::string_view name, std::string_view value)
{
    if (name == "to") {
        return fault_of_place(cf, value);
    }
    if (name == "as") {
        return fault_of_name(value);
    }
    return value.find('$') != std::string_view::npos ? "has a \"$\": only \"to=\" takes variables" : "";
}

// One parameter `name=value`. False if there is none of that name, or its value is wrong.
bool read_parameter(ngx_conf_t* cf, std::string_view name, std::string_view value, model_row& row,
                    ngx_http_complex_value_t*& to)
{
    if (name == "to") {
        return !value.empty() && compile(cf, value, to);
    }
    if (name == "as") {
        return read_as(cf, value, row);
    }
    if (name == "max_tokens") {
        ngx_str_t number = to_ngx(value);
        const ngx_int_t tokens = ngx_atoi(number.data, number.len);
        row.max_tokens = static_cast<uint32_t>(tokens);
        return tokens > 0 && static_cast<uint64_t>(tokens) <= token_estimator::max_completion;
    }
    uint32_t* weight = name == "prompt"       ? &row.prompt
                       : name == "cached"     ? &row.cached
                       : name == "completion" ? &row.completion
                                              : nullptr;
    return weight && read_weight(value, *weight);
}

std::span<model_level*> tables_of(const main_conf& conf)
{
    return {static_cast<model_level**>(conf.models.elts), conf.models.nelts};
}

std::span<const model_row> rows_of(const model_level& level)
{
    return {static_cast<const model_row*>(level.rows.elts), level.rows.nelts};
}

model_level* add_level(ngx_conf_t* cf)
{
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    auto* level = make<model_level>(cf->pool);
    if (!level || ngx_array_init(&level->rows, cf->pool, 8, sizeof(model_row)) != NGX_OK
        || ngx_array_init(&level->to, cf->pool, 8, sizeof(ngx_http_complex_value_t*)) != NGX_OK
        || !push(mcf.models, level)) {
        return nullptr;
    }
    level->conf_file = cf->conf_file->file.name;
    level->conf_line = cf->conf_file->line;
    return level;
}

char* refuse_hidden(ngx_conf_t* cf, const model_row& row, const model_row& other)
{
    ngx_str_t by = to_ngx(other.name);
    if (row.name == other.name && row.is_prefix == other.is_prefix) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate \"llm_model %V\"", &arguments(cf)[1]);
    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"llm_model %V\" would never hold: \"llm_model %V%s\" stands before it and fits "
                           "all that it fits",
                           &arguments(cf)[1], &by, other.is_prefix ? "*" : "");
    }
    return conf_error();
}

// nginx finds these by their name in a `proxy_pass` with variables; others it has to look up.
bool is_upstream_or_address(ngx_conf_t* cf, const ngx_str_t& to)
{
    auto& umcf = *static_cast<ngx_http_upstream_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module));
    const std::span all(static_cast<ngx_http_upstream_srv_conf_t**>(umcf.upstreams.elts),
                        umcf.upstreams.nelts);
    if (std::any_of(all.begin(), all.end(), [&](const ngx_http_upstream_srv_conf_t* upstream) {
            return upstream->host.len == to.len && ngx_strncasecmp(upstream->host.data, to.data, to.len) == 0;
        })) {
        return true;
    }
    ngx_url_t url = {};
    url.url = to;
    url.default_port = 80;
    url.uri_part = 1;
    url.no_resolve = 1;
    return ngx_parse_url(cf->temp_pool, &url) == NGX_OK && url.naddrs != 0;
}

// nginx has an array of name servers, Angie a list of them.
template <class Servers>
bool are_any(const Servers& servers)
{
    if constexpr (std::is_pointer_v<Servers>) {
        return servers != nullptr;
    } else {
        return servers.nelts != 0;
    }
}

bool has_resolver(ngx_conf_t* cf)
{
    auto& core =
        *static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    return core.resolver && are_any(core.resolver->connections);
}

void warn_of_upstreams(ngx_conf_t* cf, const model_level& level)
{
    const std::span to(static_cast<ngx_http_complex_value_t**>(level.to.elts), level.to.nelts);
    const auto given =
        std::count_if(to.begin(), to.end(), [](const auto* value) { return value != nullptr; });
    for (size_t i = 0; i < to.size(); i++) {
        const model_row& row = rows_of(level)[i];
        ngx_str_t name = to_ngx(row.name);
        const char* star = row.is_prefix ? "*" : "";
        if (!to[i] && given != 0) {
            ngx_log_error(
                NGX_LOG_WARN, cf->log, 0,
                "\"llm_model %V%s\" has no \"to\", as others beside it have: $llm_upstream is empty "
                "for it, in %V:%ui",
                &name, star, &level.conf_file, level.conf_line);
        }
        if (to[i] && !to[i]->lengths && !is_upstream_or_address(cf, to[i]->value) && !has_resolver(cf)) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"to=%V\" of \"llm_model %V%s\" is neither an \"upstream\" block nor an address: "
                          "nginx needs a \"resolver\" to look it up, in %V:%ui",
                          &to[i]->value, &name, star, &level.conf_file, level.conf_line);
        }
    }
}

} // namespace

char* set_model(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    auto& lcf = *static_cast<location_conf*>(conf);
    ngx_str_t* value = arguments(cf);
    model_row row{};
    ngx_http_complex_value_t* to = nullptr;

    ngx_str_t fault = to_ngx(read_name(view(value[1]), row));
    if (fault.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "the name \"%V\" in \"llm_model\" %V", &value[1], &fault);
        return conf_error();
    }
    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        const std::string_view text = view(value[i]);
        const size_t equals = text.find('=');
        const std::string_view name = text.substr(0, equals);
        const std::string_view given = equals == std::string_view::npos ? "" : text.substr(equals + 1);
        if (ngx_str_t wrong = to_ngx(fault_of_value(cf, name, given)); wrong.len != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"llm_model\": its value %V", &value[i], &wrong);
            return conf_error();
        }
        const bool stands_before = std::any_of(value + 2, value + i, [name](const ngx_str_t& other) {
            return view(other).substr(0, view(other).find('=')) == name;
        });
        if (stands_before || equals == std::string_view::npos || !read_parameter(cf, name, given, row, to)) {
            ngx_str_t what = to_ngx(expected);
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\" in \"llm_model\": expected %V",
                               &value[i], &what);
            return conf_error();
        }
    }
    if (!lcf.models && !(lcf.models = add_level(cf))) {
        return conf_error();
    }
    if (const model_row* other = row_that_hides(rows_of(*lcf.models), row)) {
        return refuse_hidden(cf, row, *other);
    }
    return push(lcf.models->rows, row) && push(lcf.models->to, to) ? NGX_CONF_OK : conf_error();
}

ngx_int_t finish_model_tables(ngx_conf_t* cf)
{
    auto& mcf = *static_cast<main_conf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    for (model_level* level : tables_of(mcf)) {
        const size_t words = model_table::index_size(level->rows.nelts);
        auto* index = static_cast<uint32_t*>(ngx_palloc(cf->pool, words * sizeof(uint32_t)));
        if (!index) {
            return NGX_ERROR;
        }
        level->table.build(rows_of(*level), {index, words});
        if (!level->in_force) {
            ngx_log_error(
                NGX_LOG_WARN, cf->log, 0,
                "\"llm_model\" does nothing, since no \"llm_api_keys\" is in force where it is, in %V:%ui",
                &level->conf_file, level->conf_line);
        }
        if (level->in_force && !level->is_read_for && level->table.tells_apart()) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"llm_model\" stands where \"llm_body off\" is in force: each request for a model "
                          "is refused there, since it is not known for which, in %V:%ui",
                          &level->conf_file, level->conf_line);
        }
        warn_of_upstreams(cf, *level);
    }
    return NGX_OK;
}

void name_table_models(main_conf& conf, zone_conf& zone)
{
    for (const model_level* level : tables_of(conf)) {
        for (const model_row& row : rows_of(*level)) {
            const std::string_view name = row.is_prefix ? short_model_name(row.as) : row.name;
            if (!name.empty()) {
                zone_session session(zone);
                session->name_model(name, {0, wall_clock_ms()});
            }
        }
    }
}

} // namespace llm
