#!/bin/sh
# Runs client libraries (openai, @anthropic-ai/sdk, @google/genai, ollama, @langchain/openai, ai with @ai-sdk/openai, ws) against the
# gateway. Needs nginx, node >= 18, npm and openssl.
#
#   LLM_MODULE   the module, by default build/ngx_http_llm_module.so
#   LLM_NGINX    the nginx binary, by default nginx of the PATH
#   LLM_PRELOAD  what nginx gets as LD_PRELOAD, for a module that was built with a sanitizer

set -eu

. "$(dirname "$0")/../lib/node.sh"

exec node --test --test-reporter=spec *.test.mjs
