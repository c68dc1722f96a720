#!/bin/bash
# Tries other versions of nginx, and other releases of Debian: builds the module for each, runs the tests with it, and prints a
# table of what came out. The table is Markdown.
#
#   sh t/versions.sh [--quick] [--nginx DIR]... [--debian SUITE]...
#
#   --nginx DIR      a source tree of nginx, Angie, freenginx: a release, or a clone. It is built plain and with HTTP/3, and the
#                    module for both of them by --add-dynamic-module and by CMake. DIR is copied, and nothing is written there
#   --debian SUITE   bookworm (12) or trixie (13), in a chroot that t/debian.sh makes. Needs root. LLM_CHROOTS=DIR keeps the
#                    chroots there, as DIR/SUITE, and uses those that are there
#   --quick          not all tests, but those whose files are named in $quick below
#   --tests "FILE.." only these
#   --only "plain add", --only "plain cmake" and so on: only this way of building (more than once: each of them)
#
# Without --nginx and --debian: both releases of Debian. Builds are in build/versions (LLM_VERSIONS=DIR: there), with the output
# of each step as NAME.log. Nothing is downloaded but the Debian packages that t/debian.sh needs for its chroots. With the
# package ccache, CMAKE_CXX_COMPILER_LAUNCHER=ccache and CMAKE_C_COMPILER_LAUNCHER=ccache save time.
#
# LLM_PROGRAMS=DIR is a build that has llmctl and t/soak already.
#
# Ends with status 0 only if all was built without warnings, and no test failed.

# `sh` may be dash: the script needs bash.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"

set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD

# Each has to do with another part of nginx: phases, filters, variables, upstreams, processes, configuration, protocols.
quick="t/auth.t t/config.t t/disconnect.t t/errors.t t/gemini.t t/http3.t t/inject_reply.t t/inject_request.t t/keeper.t t/kill.t
    t/limits.t t/metrics.t t/models.t t/quickstart.t t/reload.t t/request.t t/smuggling.t t/state.t t/status.t t/subrequest.t
    t/upstream_list.t t/usage_sse.t t/variables.t"

# What the tests need of nginx, and nginx of the system.
options="--with-compat --with-threads --with-http_ssl_module --with-http_v2_module --with-http_realip_module
    --with-http_auth_request_module --with-http_stub_status_module --with-http_gunzip_module --with-http_sub_module"

die() {
    printf 'versions.sh: %s\n' "$*" >&2
    exit 2
}

trees=()
suites=()
ways=()
tests=t/
while [ $# -gt 0 ]; do
    case $1 in
        --quick) tests=$quick ;;
        --nginx) [ -n "${2:-}" ] || die "--nginx DIR"; trees+=("$2"); shift ;;
        --debian) [ -n "${2:-}" ] || die "--debian SUITE"; suites+=("$2"); shift ;;
        --tests) [ -n "${2:-}" ] || die '--tests "FILE..."'; tests=$2; shift ;;
        --only) [ -n "${2:-}" ] || die '--only "plain add"'; ways+=("$2"); shift ;;
        *) die "what is \"$1\"? See the beginning of $0" ;;
    esac
    shift
done
[ ${#trees[@]} -gt 0 ] || [ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)
[ ${#ways[@]} -gt 0 ] || ways=("plain add" "plain cmake" "http3 add" "http3 cmake")
for tree in ${trees[@]+"${trees[@]}"}; do
    [ -f "$tree/src/core/nginx.h" ] || die "$tree is no source tree of nginx"
    [ -x "$tree/configure" ] || [ -x "$tree/auto/configure" ] || die "$tree has no configure"
done

work=${LLM_VERSIONS:-$root/build/versions}
mkdir -p "$work"
work=$(cd "$work" && pwd)
jobs=$(nproc)
rows=()
bad=0

say() { printf '%s\n' "$*"; }

# row NAME VERSION BUILT RESULT...
row() {
    local line="| $1 | $2 | $3 | ${*:4} |"
    rows+=("$line")
    say "$line"
}

failed_row() {
    bad=1
    row "$1" "$2" "$3" "**$4**" - -
}

# log_of NAME COMMAND...: its output goes to NAME.log, and the end of that is shown if it fails.
log_of() {
    local log=$work/$1.log
    shift
    "$@" > "$log" 2>&1 && return 0
    say "failed, see $log:"
    tail -n 15 "$log" | sed 's/^/    /'
    return 1
}

# The tree's own name and version, of what its headers say.
name_of() {
    local src=$1/src/core
    if [ -f "$src/angie.h" ]; then
        say Angie
    elif grep -q freenginx "$src/nginx.h"; then
        say freenginx
    elif grep -q 'openresty' "$src/nginx.h"; then
        say OpenResty
    else
        say nginx
    fi
}

version_of() {
    sed -nE 's/^#define +(ANGIE|NGINX)_VERSION +"([^"]+)".*/\1 \2/p' "$1"/src/core/{angie,nginx}.h 2>/dev/null \
        | sort | sed -n '1s/.* //p'
}

# result NAME RC: sets `counts` to passed, failed and skipped tests, as the last columns of a row, out of what prove has said in NAME.log.
result() {
    local log=$work/$1.log all failed skipped
    all=$(sed -nE 's/^Files=[0-9]+, Tests=([0-9]+).*/\1/p' "$log" | tail -1)
    # Of each file that has some; one that only ended badly counts as one.
    failed=$(sed -nE 's/^[^ ]+\.t +\(Wstat: .* Failed: ([0-9]+)\)$/\1/p' "$log" | awk '{ n += $1 ? $1 : 1 } END { print n + 0 }')
    [ "$2" = 0 ] || [ "$failed" != 0 ] || failed=1
    # Whole files, and single tests.
    skipped=$(grep -cE '^[^ ]+\.t \.+ skipped:|^ok [0-9]+ .*# (SKIP|skip)\b' "$log")
    [ "$failed" = 0 ] && [ -n "$all" ] || bad=1
    counts="$((${all:-0} > failed ? all - failed : 0)) | $failed | $skipped"
}

# --- trees

# The programs that tests start beside nginx: they have nothing of nginx in them.
build_programs() {
    if [ -n "${LLM_PROGRAMS:-}" ]; then
        mkdir -p "$work/programs/t/soak"
        cp "$LLM_PROGRAMS/llmctl" "$work/programs/" && cp "$LLM_PROGRAMS"/t/soak/{soak,names}_load "$work/programs/t/soak/"
        return
    fi
    log_of programs sh -c 'cmake -S . -B "$1" -G Ninja -DLLM_DEV=ON -DLLM_MODULE=OFF &&
        cmake --build "$1" --target llmctl soak_load names_load' sh "$work/programs"
}

# configure_nginx COPY FLAVOUR
configure_nginx() {
    local configure=./configure more=
    [ -x "$1/configure" ] || configure=auto/configure
    [ "$2" = plain ] || more=--with-http_v3_module
    # Its Makefile is of the last configure; each of them has one in its own folder.
    # shellcheck disable=SC2086
    (cd "$1" && $configure --builddir="objs-$2" --prefix="$work/prefix" --with-cc="${LLM_CC:-cc}" $options $more \
        --add-dynamic-module="$root")
}

build_by_add() {
    make -C "$1" -f "objs-$2/Makefile" -j"$jobs" modules
}

build_by_cmake() {
    cmake -S . -B "$3" -G Ninja -DLLM_NGINX_SOURCE="$1" -DLLM_NGINX_OBJS="$1/objs-$2" \
        && cmake --build "$3" --target ngx_http_llm_module
}

# try_module COPY NAME VERSION FLAVOUR HOW
try_module() {
    local copy=$1 objs=$1/objs-$4 id=${1##*/}-$4-$5 built here nginx
    built="$4, $5"
    [ "$4" = http3 ] && built="HTTP/3, $5"
    built=${built/%add/--add-dynamic-module}
    built=${built/%cmake/CMake}
    here=$work/$id
    nginx=$objs/nginx
    [ -x "$objs/angie" ] && nginx=$objs/angie
    mkdir -p "$here/t/soak"
    if [ "$5" = add ]; then
        log_of "$id" build_by_add "$copy" "$4" && cp "$objs/ngx_http_llm_module.so" "$here/"
    else
        log_of "$id" build_by_cmake "$copy" "$4" "$here"
    fi || { failed_row "$2" "$3" "$built" "not built"; return; }
    if grep -q 'warning:' "$work/$id.log"; then
        bad=1
        built="$built, with warnings"
    fi
    # Where the tests look for them: beside the module.
    cp "$work/programs/llmctl" "$here/"
    cp "$work/programs/t/soak/soak_load" "$work/programs/t/soak/names_load" "$here/t/soak/"
    # shellcheck disable=SC2086
    LLM_NGINX=$nginx LLM_MODULE=$here/ngx_http_llm_module.so LLMCTL=$here/llmctl \
        prove -j2 --directives -It/lib $tests > "$work/$id-tests.log" 2>&1
    result "$id-tests" $?
    row "$2" "$3" "$built" "$counts"
}

try_tree() {
    local tree copy name version flavour way done_with=
    tree=$(cd "$1" && pwd)
    copy=$work/$(basename "$tree")
    name=$(name_of "$tree")
    version=$(version_of "$tree")
    mkdir -p "$copy"
    # What another ./configure left there is not taken along.
    tar -C "$tree" --exclude=./objs --exclude=./.git -cf - . | tar -C "$copy" -xf -
    for way in "${ways[@]}"; do
        flavour=${way% *}
        if [ "$flavour" = http3 ] && ! grep -q http_v3_module "$copy/auto/options"; then
            [ "$done_with" = http3 ] || row "$name" "$version" "HTTP/3" "it has none" - -
            done_with=http3
            continue
        fi
        if [ "$done_with" != "$flavour" ]; then
            done_with=$flavour
            if ! log_of "${copy##*/}-$flavour" configure_nginx "$copy" "$flavour" \
                || ! log_of "${copy##*/}-$flavour-nginx" make -C "$copy" -f "objs-$flavour/Makefile" -j"$jobs" binary; then
                failed_row "$name" "$version" "$flavour" "nginx was not built"
                continue
            fi
        fi
        try_module "$copy" "$name" "$version" "$flavour" "${way#* }"
    done
}

# --- Debian

try_debian() {
    local suite=$1 rc version
    [ -z "${LLM_CHROOTS:-}" ] || export LLM_CHROOT="$LLM_CHROOTS/$suite"
    # The whole of them is what t/run.sh does by itself.
    [ "$tests" = t/ ] || export LLM_TESTS=$tests
    sh t/debian.sh "$suite" nginx > "$work/$suite.log" 2>&1
    rc=$?
    version=$(sed -nE 's/^nginx version: nginx\/([0-9.]+).*/\1/p' "$work/$suite.log" | tail -1)
    if ! grep -q '^Files=' "$work/$suite.log"; then
        say "failed, see $work/$suite.log:"
        tail -n 15 "$work/$suite.log" | sed 's/^/    /'
        failed_row "Debian $suite" "${version:--}" CMake "not built"
        return
    fi
    result "$suite" $rc
    row "Debian $(sed -nE 's/^=== Debian ([0-9]+).*/\1/p' "$work/$suite.log" | head -1)" "${version:--}" CMake "$counts"
}

for suite in ${suites[@]+"${suites[@]}"}; do
    try_debian "$suite"
done
if [ ${#trees[@]} -gt 0 ]; then
    build_programs || exit 1
    for tree in "${trees[@]}"; do
        try_tree "$tree"
    done
fi

say
say "Tests: $(if [ "$tests" = t/ ]; then echo all; elif [ "$tests" = "$quick" ]; then echo "--quick, files: $(wc -w <<< "$quick")"; else echo $tests; fi); $(date +%Y-%m-%d)"
say
say "| nginx | version | built | passed | failed | skipped |"
say "|---|---|---|---|---|---|"
printf '%s\n' "${rows[@]}"
exit $bad
