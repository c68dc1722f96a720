#!/bin/sh
# Tries a Debian release: in a chroot of its own, quickstart.sh and then t/run.sh, with the tree as it was committed last.
#
#   sh t/debian.sh SUITE [STAGE...]    SUITE: bookworm, trixie; STAGEs as of t/run.sh, by default all of them
#
# Needs root, git and the package debootstrap. Nothing of the system is touched, no service is started; but the network is
# the system's, and the tests listen on 127.0.0.1.
#
#   LLM_CHROOT=DIR   make the chroot here and leave it, or use the one that is there (default: a temporary one)
#   LLM_MIRROR=URL   where its packages come from (default: debootstrap's)
#   SOURCE_REV=REV   another commit than HEAD
#
# The rest of the environment goes along, for example FUZZ_SECONDS. A file that NODE_EXTRA_CA_CERTS names is copied in, for
# npm behind a proxy that ends TLS.

set -eu

. "$(dirname "$0")/chroot.sh"

suite=${1:-}
case $suite in
    '' | -*) die "which Debian? sh t/debian.sh SUITE [STAGE...]" ;;
esac
shift
need_debootstrap
cd "$(dirname "$0")/.."

if [ -n "${LLM_CHROOT:-}" ]; then
    root=$LLM_CHROOT
    mkdir -p "$root"
else
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    trap 'exit 130' INT TERM
fi
root=$(cd "$root" && pwd)
make_chroot "$suite" "$root"

rm -rf "$root/root/nginx-llm"
mkdir -p "$root/root/nginx-llm"
git archive "${SOURCE_REV:-HEAD}" | tar -x -C "$root/root/nginx-llm"
if [ -n "${NODE_EXTRA_CA_CERTS:-}" ]; then
    cp "$NODE_EXTRA_CA_CERTS" "$root/root/extra-ca.pem"
    NODE_EXTRA_CA_CERTS=/root/extra-ca.pem
    export NODE_EXTRA_CA_CERTS
fi

in_chroot "$root" '
    cd /root/nginx-llm
    printf "\n=== Debian %s\n" "$(cat /etc/debian_version)"
    sh conf-examples/quickstart.sh
    nginx -v
    sh t/run.sh "$@"' "$@"
