# For the run.sh of a directory with tests that Node runs: sourced from there. Finds the module, goes to the directory and installs its
# packages.

LLM_MODULE=$(realpath -m "${LLM_MODULE:-$(dirname "$0")/../../build/ngx_http_llm_module.so}")
export LLM_MODULE
[ -f "$LLM_MODULE" ] || { echo "run.sh: there is no module $LLM_MODULE: build it first" >&2; exit 1; }
cd "$(dirname "$0")"

# What is installed is what the lock file says: nothing to fetch then.
if ! cmp -s package-lock.json node_modules/.of-this-lock; then
    npm ci --no-audit --no-fund --loglevel=error > /dev/null
    cp package-lock.json node_modules/.of-this-lock
fi
