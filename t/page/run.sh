#!/bin/sh
# Opens the pages in Chromium: with figures that are made up (t/page/mock.mjs), and those of nginx with the module. Screenshots are
# written into build/page/. Needs nginx, Chromium, node >= 18 and npm, and the pages in build/page/.
#
#   LLM_MODULE    the module, by default build/ngx_http_llm_module.so
#   LLM_NGINX     the nginx binary, by default nginx of the PATH
#   LLM_CHROMIUM  the browser, by default the system's Chromium

set -eu

LLM_MODULE=$(realpath -m "${LLM_MODULE:-$(dirname "$0")/../../build/ngx_http_llm_module.so}")
export LLM_MODULE
cd "$(dirname "$0")"
[ -f "$LLM_MODULE" ] || { echo "run.sh: there is no module $LLM_MODULE: build it first" >&2; exit 1; }

# What is installed is what the lock file says: nothing to fetch then.
if ! cmp -s package-lock.json node_modules/.of-this-lock; then
    npm ci --no-audit --no-fund --loglevel=error >/dev/null
    cp package-lock.json node_modules/.of-this-lock
fi

exec node --test --test-concurrency=2 --test-reporter=spec *.test.mjs
