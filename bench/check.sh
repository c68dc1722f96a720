#!/bin/bash
# Whether the hot paths take more instructions than those in instructions.csv: per request, of the nginx worker, under callgrind.
# usage: bench/check.sh [--update]      (--update: writes what it has counted into instructions.csv)
# Exit status 0: none has grown by more than 2 %, or it was counted with other tools, so that the comparison is only information.
# 1: one has grown. 2: it could not be counted. Environment: as of run.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(dirname "$here")
nginx=${NGINX:-nginx}
module=${LLM_MODULE:-$repo/build/ngx_http_llm_module.so}
committed=$here/instructions.csv
most=${BENCH_CHECK_PERCENT:-2}

update=
case ${1:-} in
    "") ;;
    --update) update=1 ;;
    *)
        sed -n '3s/^# //p' "$0" >&2
        exit 2
        ;;
esac

# What the numbers depend on besides the source, as lines "# name: value".
tools() {
    local type
    type=$(sed -n 's/^CMAKE_BUILD_TYPE:[^=]*=//p' "$(dirname "$module")/CMakeCache.txt" 2>/dev/null || true)
    echo "# nginx: $("$nginx" -v 2>&1 | sed 's/.*nginx\///'), sha256 $(sha256sum "$(command -v "$nginx")" | cut -c 1-16)"
    echo "# compiler of the module: $(readelf -p .comment "$module" 2>/dev/null | sed -n 's/^ *\[ *[0-9a-f]*\]  *//p' | sort -u | paste -sd ';')"
    echo "# build type: ${type:-that of the project}"
    echo "# valgrind: $(valgrind --version)"
    echo "# libcrypto: $(openssl version | cut -d ' ' -f 2)"
    echo "# libc: $(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)"
    echo "# machine: $(uname -m)"
}

counted=$(mktemp -d)
trap 'rm -rf "$counted"' EXIT
BENCH_RESULTS=$counted "$here/run.sh" instructions >/dev/null || {
    echo "check: the instructions could not be counted" >&2
    exit 2
}
awk -F, '$1 == "instructions" { print $3 "," $2 "," $4 }' "$counted/summary.csv" >"$counted/new"
tools >"$counted/tools"

if [ -n "$update" ]; then
    {
        echo "# Instructions per request of the hot paths, by bench/check.sh --update. A stream has 1,000 chunks."
        cat "$counted/tools"
        echo "path,contender,instructions"
        cat "$counted/new"
    } >"$committed"
    cat "$committed"
    exit 0
fi

[ -f "$committed" ] || {
    echo "check: no $committed; make it with --update" >&2
    exit 2
}
grep '^# [^:]*: ' "$committed" >"$counted/tools.committed"
same=1
if ! cmp -s "$counted/tools" "$counted/tools.committed"; then
    same=
    echo "Counted with other tools than the committed numbers; what differs (< committed, > here):"
    diff "$counted/tools.committed" "$counted/tools" | grep '^[<>]' || true
fi
awk -v most="$most" -v same="$same" -f "$here/lib/check.awk" "$committed" "$counted/new"
