#!/bin/sh
# Drives coding agents from npm (Claude Code, Codex, opencode) through conf-examples/recipes/coding-agents.conf to a model server with a
# script: a right key, a tool call, a wrong key, a short limit, a spent quota, an abort.
#
#   sh t/agents.sh [--test-name-pattern=PATTERN]
#
# It is not part of t/run.sh: what it installs is more than 1 GB, and changes every week. Needs nginx, node >= 20 and npm. The agents go to
# build/agents; each run has a home of its own, and talks to nothing but the gateway. They run commands that the model asks for, as the
# user who runs this.
#
#   LLM_MODULE   the module, by default build/ngx_http_llm_module.so
#   LLM_NGINX    the nginx binary, by default nginx of the PATH

set -eu

cd "$(dirname "$0")/.."
LLM_MODULE=$(realpath -m "${LLM_MODULE:-build/ngx_http_llm_module.so}")
LLM_AGENTS=$PWD/build/agents/node_modules/.bin
export LLM_MODULE LLM_AGENTS
[ -f "$LLM_MODULE" ] || { echo "agents.sh: there is no module $LLM_MODULE: build it first" >&2; exit 1; }

mkdir -p build/agents
if ! cmp -s t/agents/package.json build/agents/.installed; then
    cp t/agents/package.json build/agents/package.json
    npm install --prefix build/agents --no-audit --no-fund --loglevel=error >/dev/null
    cp t/agents/package.json build/agents/.installed
fi
for agent in claude codex opencode; do
    printf '%s ' "$agent"
    HOME=$PWD/build/agents "$LLM_AGENTS/$agent" --version || { echo "agents.sh: $agent does not start here" >&2; exit 1; }
done

exec node --test --test-reporter=spec "$@" t/agents/agents.test.mjs
