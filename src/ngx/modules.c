/* What nginx looks for in a dynamic module. */

#include <ngx_config.h>
#include <ngx_core.h>

extern ngx_module_t ngx_http_llm_module;

#define EXPORT __attribute__((visibility("default")))

EXPORT ngx_module_t *ngx_modules[] = { &ngx_http_llm_module, NULL };

EXPORT char *ngx_module_names[] = { "ngx_http_llm_module", NULL };

/*
 * Just before copy_filter in the list is just after it on a reply's way: there replies are in memory and still have the
 * upstream's bytes, before gunzip, sub or gzip change them. Without this array the module would come last in the list and
 * see file buffers.
 */
EXPORT char *ngx_module_order[] = { "ngx_http_llm_module", "ngx_http_copy_filter_module", NULL };
