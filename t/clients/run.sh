#!/bin/sh
# Runs client libraries (openai, @anthropic-ai/sdk, @google/genai, ollama, @langchain/openai, ai with @ai-sdk/openai) against the
# gateway. Needs nginx, node >= 18 and npm.
#
#   LLM_MODULE   the module, by default build/ngx_http_llm_module.so
#   LLM_NGINX    the nginx binary, by default nginx of the PATH
#   LLM_PRELOAD  what nginx gets as LD_PRELOAD, for a module that was built with a sanitizer

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

exec node --test --test-reporter=spec *.test.mjs
