#!/bin/sh
# Opens the pages in Chromium: with figures that are made up (t/page/mock.mjs), and those of nginx with the module; and a web application on
# the recipe for browsers. Screenshots are written into build/page/. Needs nginx, Chromium, node >= 18 and npm, and the pages in build/page/.
#
#   LLM_MODULE    the module, by default build/ngx_http_llm_module.so
#   LLM_NGINX     the nginx binary, by default nginx of the PATH
#   LLM_CHROMIUM  the browser, by default the system's Chromium

set -eu

. "$(dirname "$0")/../lib/node.sh"

exec node --test --test-concurrency=2 --test-reporter=spec *.test.mjs
