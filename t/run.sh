#!/bin/bash
# Builds and tests everything. Ends with "N passed, N failed".
#
#   sh t/run.sh             all of it
#   sh t/run.sh STAGE...    only these: unit fuzz nginx sanitize clients page
#
# FUZZ_SECONDS=N gives each fuzz target N seconds instead of 10. LLM_SOAK=N lets N requests through t/soak.t instead of 40000 (10000
# with sanitizers). LLM_NAMES=N has t/many_models.t name N models instead of 100000 (20000 with sanitizers). LLM_TESTS="t/A.t t/B.t"
# runs only these of the tests with nginx.
#
# Another nginx than Debian's: LLM_NGINX=BINARY runs it, and LLM_NGINX_SOURCE=DIR and LLM_NGINX_OBJS=DIR build the module for it (see
# README.md).

# `sh` may be dash: the script needs bash.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"

set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
. t/packages.sh

stages=${*:-unit fuzz nginx sanitize clients page}
passed=0
failed=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

title() { printf '\n=== %s\n' "$*"; }

# count PASSED FAILED RC: a runner that ends with an error without a failed test counts as one.
count() {
    local good=${1:-0} bad=${2:-0}
    [ "$3" = 0 ] || [ "$bad" != 0 ] || bad=1
    passed=$((passed + good))
    failed=$((failed + bad))
}

# build DIR TARGETS CMAKE-ARGS...
build() {
    local dir=$1 targets=$2
    shift 2
    if ! { cmake -S . -B "$dir" -G Ninja -DLLM_DEV=ON -DLLM_NGINX_SOURCE="${LLM_NGINX_SOURCE:-/usr/share/nginx/src}" \
        -DLLM_NGINX_OBJS="${LLM_NGINX_OBJS:-}" "$@" && cmake --build "$dir" --target $targets; } \
        > "$logs/build" 2>&1; then
        tail -40 "$logs/build"
        echo "building $dir failed"
        count 0 1 1
        return 1
    fi
    echo "built $dir"
}

run_ctest() {
    (cd "$1" && ctest --output-on-failure --no-tests=error -j2 "${@:2}") > "$logs/ctest" 2>&1
    local rc=$?
    [ $rc = 0 ] || cat "$logs/ctest"
    local summary bad all
    summary=$(grep -E 'tests passed, [0-9]+ tests failed out of' "$logs/ctest")
    bad=$(sed -E 's/.* ([0-9]+) tests failed.*/\1/' <<< "$summary")
    all=$(sed -E 's/.* out of ([0-9]+).*/\1/' <<< "$summary")
    echo "$summary"
    count $((${all:-0} - ${bad:-0})) "${bad:-0}" $rc
}

run_prove() {
    # What was skipped is shown.
    # shellcheck disable=SC2086
    prove -j3 --directives -It/lib ${LLM_TESTS:-t/} 2>&1 | tee "$logs/prove"
    local rc=${PIPESTATUS[0]} all bad
    all=$(sed -nE 's/^Files=[0-9]+, Tests=([0-9]+).*/\1/p' "$logs/prove")
    # Of each file that has some; one that only ended badly counts as one.
    bad=$(sed -nE 's/^[^ ]+\.t +\(Wstat: .* Failed: ([0-9]+)\)$/\1/p' "$logs/prove" | awk '{ n += $1 ? $1 : 1 } END { print n + 0 }')
    count $((${all:-0} - ${bad:-0})) "${bad:-0}" "$rc"
}

# run_node DIR: the tests of a directory that Node runs.
run_node() {
    bash "$1/run.sh" 2>&1 | tee "$logs/node"
    local rc=${PIPESTATUS[0]}
    count "$(sed -nE 's/^(# |ℹ )pass ([0-9]+)$/\2/p' "$logs/node" | tail -1)" \
        "$(sed -nE 's/^(# |ℹ )fail ([0-9]+)$/\2/p' "$logs/node" | tail -1)" "$rc"
}

wants() { [[ " $stages " == *" $1 "* ]]; }

# What is loaded before nginx, which is not built with sanitizers itself.
sanitizer_libraries() {
    echo "$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
}

title packages
install_packages $llm_packages || exit 1
if wants page; then
    install_packages $llm_page_packages || exit 1
fi

if wants unit || wants nginx || wants clients || wants page; then
    title "build (gcc)"
    # Without the unit tests, only what the others start.
    targets="ngx_http_llm_module llmctl soak_load names_load"
    wants unit && targets=all
    build build "$targets" -DCMAKE_CXX_COMPILER=g++ -DCMAKE_C_COMPILER=gcc -DLLM_BENCH=ON || exit 1
fi

if wants unit; then
    title "unit tests"
    run_ctest build
fi

if wants fuzz; then
    title "build (clang, sanitizers)"
    if build build-clang all -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang \
        -DLLM_SANITIZE=address,undefined,fuzzer-no-link -DLLM_FUZZ_SECONDS="${FUZZ_SECONDS:-10}"; then
        title "unit tests, sanitized, and fuzz targets"
        run_ctest build-clang
    fi
fi

if wants nginx; then
    title "nginx"
    LLM_MODULE=$root/build/ngx_http_llm_module.so run_prove
fi

if wants sanitize; then
    title "build (gcc, sanitizers), nginx with the sanitized module"
    if build build-sanitize 'ngx_http_llm_module soak_load names_load' -DCMAKE_CXX_COMPILER=g++ -DCMAKE_C_COMPILER=gcc \
        -DLLM_SANITIZE=address,undefined; then
        export LLM_MODULE=$root/build-sanitize/ngx_http_llm_module.so LLM_PRELOAD
        LLM_PRELOAD=$(sanitizer_libraries)
        LLM_SOAK=${LLM_SOAK:-10000} LLM_NAMES=${LLM_NAMES:-20000} run_prove
        unset LLM_MODULE LLM_PRELOAD
    fi
fi

if wants clients; then
    title "the SDK clients"
    LLM_MODULE=$root/build/ngx_http_llm_module.so run_node t/clients
fi

if wants page; then
    title "the pages, in Chromium"
    LLM_MODULE=$root/build/ngx_http_llm_module.so run_node t/page
fi

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
