#!/bin/sh
# Tries the packages on a Debian release, as they come from the commit: built twice with the same bytes, without a word from lintian, installed on
# a Debian that has nothing else, used, upgraded from the packages of an earlier commit, removed and purged. Ends with "N passed, N failed".
#
#   sh t/package.sh SUITE [REV]     SUITE: bookworm, trixie; REV: the earlier commit (default: the one before). If it has no
#                                   debian/, the packages of now with an older version take its place
#
# Not part of t/run.sh: it builds three times. Needs root, git and the package debootstrap. Nothing of the system is touched. Packages come from the
# network; what is started has a network of its own.
#
#   LLM_CHROOT=DIR   make the chroot for building here and leave it, or use the one that is there (default: a temporary one). DIR/clean.tar
#                    is a Debian without anything, for the installation
#   LLM_MIRROR=URL   where its packages come from (default: debootstrap's)
#   SOURCE_REV=REV   another commit than HEAD
#   LLM_PACKAGES=DIR packages are kept here, by version, and those that are there are not built once more

set -eu

. "$(dirname "$0")/chroot.sh"

suite=${1:-}
case $suite in
    '' | -*) die "which Debian? sh t/package.sh SUITE [REV]" ;;
esac
need_debootstrap
cd "$(dirname "$0")/.."
new=$(git rev-parse --verify "${SOURCE_REV:-HEAD}^{commit}")
old=$(git rev-parse --verify "${2:-$new~1}^{commit}")

scratch=$(mktemp -d)
chmod 755 "$scratch"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
root=${LLM_CHROOT:-$scratch/build}
mkdir -p "$root"
root=$(cd "$root" && pwd)
kept=${LLM_PACKAGES:-$scratch/packages}
mkdir -p "$kept"
kept=$(cd "$kept" && pwd)

passed=0
failed=0
title() { printf '\n=== %s\n' "$*"; }

there() { ls "$1"/*.deb >/dev/null 2>&1; }

# check WHAT COMMAND...: one line, and what the command said if it failed.
check() {
    what=$1
    shift
    if "$@" >"$scratch/said" 2>&1; then
        passed=$((passed + 1))
        echo "ok - $what"
    else
        failed=$((failed + 1))
        echo "not ok - $what"
        tail -n 60 "$scratch/said"
    fi
}

finish() {
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" = 0 ] && [ "$passed" != 0 ]
    exit
}

# A Debian as debootstrap leaves it.
clean_chroot() {
    if [ -e "$root/clean.tar" ]; then
        mkdir -p "$1"
        tar -C "$1" -xpf "$root/clean.tar"
        chmod 755 "$1"
    else
        make_chroot "$suite" "$1"
        tar -C "$1" -cf "$root/clean.tar" .
    fi
}

# The version of a commit's packages: later ones are higher. With a revision that has no debian/ nothing.
version_of() {
    first=$(git show "$1:debian/changelog" 2>/dev/null | sed -n '1s/.*(\(.*\)).*/\1/p')
    [ -z "$first" ] || echo "$first+git$(git rev-list --count "$1").$(git rev-parse --short=8 "$1")"
}

# source_of REV VERSION DIR: the tree of a commit, whose packages have that version.
source_of() {
    rm -rf "$3"
    mkdir -p "$3"
    git archive "$1" | tar -x -C "$3"
    sed -i "1s/(.*)/($2)/" "$3/debian/changelog"
}

# build REV VERSION INTO [VARIABLE=VALUE...]: in the chroot, as somebody would who has only the tree. The place and the time of the build are others
# each time.
build() {
    source_of "$1" "$2" "$root/root/nginx-llm"
    into=$3
    shift 3
    rm -rf "$root/root/packages"
    # shellcheck disable=SC2016
    in_chroot "$root" 'exec env "$@" sh /root/nginx-llm/conf-examples/install.sh --build /root/packages' "$@" &&
        rm -rf "$into" && mkdir -p "$into" && cp "$root/root/packages/"* "$into/"
}

same_packages() {
    for deb in "$1"/*.deb; do
        sha256sum "$deb"
        cmp "$deb" "$2/$(basename "$deb")" || return 1
    done
}

title "chroots"
make_chroot "$suite" "$root"
# shellcheck disable=SC2016
echo "Debian $(cat "$root/etc/debian_version")"

title "packages"
version=$(version_of "$new")
[ -n "$version" ] || die "$new has no debian/"
one=$kept/$suite-$version
jobs=${LLM_JOBS:-2}
two=$one-again
there "$one" || check "they are built, with unit tests" build "$new" "$version" "$one" DEB_BUILD_OPTIONS="parallel=$jobs" TZ=UTC
there "$one" || finish
there "$two" ||
    check "and without, elsewhere and later" build "$new" "$version" "$two" DEB_BUILD_OPTIONS="nocheck parallel=$jobs" TZ=Asia/Tokyo LC_ALL=C
check "these are the same, byte by byte" same_packages "$one" "$two"
cat "$scratch/said"

version_before=$(version_of "$old")
rev_before=$old
if [ -z "$version_before" ]; then
    rev_before=$new
    version_before=$(git show "$new:debian/changelog" | sed -n '1s/.*(\(.*\)).*/\1/p')~before
fi
before=$kept/$suite-$version_before
there "$before" ||
    check "those of before: $version_before" build "$rev_before" "$version_before" "$before" DEB_BUILD_OPTIONS="nocheck parallel=$jobs"
there "$before" || finish

title "lintian"
rm -rf "$root/root/lint"
mkdir "$root/root/lint"
cp "$one"/* "$root/root/lint/"
source_of "$new" "$version" "$root/root/lint/nginx-llm"
check "lintian is there" in_chroot "$root" 'DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends lintian'
# The lintian of Debian 12 is older than the policy that the packages follow.
unknown=
case $(cat "$root/etc/debian_version") in
    12*) unknown=newer-standards-version ;;
esac
check "lintian says nothing" in_chroot "$root" '
    cd /root/lint
    dpkg-source -b nginx-llm >/dev/null
    said=$(lintian --allow-root -i -I --pedantic ${1:+--suppress-tags "$1"} ./*.changes ./*.dsc 2>&1) || true
    printf "%s\n" "$said"
    [ -z "$said" ]' "$unknown"
check "hardening, debug symbols apart, an SPDX document, the abi of nginx" in_chroot "$root" 'sh /root/lint/nginx-llm/t/package/content.sh /root/lint'
grep ' KB$' "$scratch/said" || true

# What the steps say becomes lines of this script.
steps() {
    while IFS= read -r line; do
        case $line in
            'ok - '*) passed=$((passed + 1)) ;;
            'not ok - '*) failed=$((failed + 1)) ;;
        esac
        printf '%s\n' "$line"
    done <"$1"
}

title "a clean Debian"
clean=$scratch/clean
clean_chroot "$clean"
mkdir -p "$clean/out/before" "$clean/out/now" "$clean/out/tree"
cp "$before"/*.deb "$clean/out/before/"
cp "$one"/*.deb "$clean/out/now/"
rm -f "$clean"/out/*/*dbgsym*
git archive "$new" | tar -x -C "$clean/out/tree"
install='cd /out/before
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    dpkg -i ./*.deb || true
    apt-get -q -y --no-install-recommends -f install
    apt-get -q -y --no-install-recommends install curl
    dpkg --audit
    [ "$(dpkg-query -W -f "\${db:Status-Abbrev}" libnginx-mod-http-llm llmctl)" = "ii ii " ]'
check "dpkg -i, and apt-get -f install" in_chroot "$clean" "$install"
in_chroot "$clean" --no-network 'exec sh /out/tree/t/package/steps.sh' >"$scratch/steps" 2>&1 || echo "not ok - the steps came to their end" >>"$scratch/steps"
steps "$scratch/steps"

title "the container"
container=$scratch/container
clean_chroot "$container"
mkdir -p "$container/out/now" "$container/out/tree"
cp "$one"/*.deb "$container/out/now/"
rm -f "$container"/out/*/*dbgsym*
git archive "$new" | tar -x -C "$container/out/tree"
check "the install script" in_chroot "$container" '
    sh /out/tree/conf-examples/install.sh --from /out/now
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install curl'
in_chroot "$container" --no-network 'exec sh /out/tree/t/package/container.sh' >"$scratch/steps" 2>&1 || echo "not ok - the container's steps came to their end" >>"$scratch/steps"
steps "$scratch/steps"

finish
