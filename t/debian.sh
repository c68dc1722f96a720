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

die() {
    printf 'debian.sh: %s\n' "$*" >&2
    exit 1
}

suite=${1:-}
case $suite in
    '' | -*) die "which Debian? sh t/debian.sh SUITE [STAGE...]" ;;
esac
shift
[ "$(id -u)" = 0 ] || die "this needs root"
command -v debootstrap >/dev/null || die "this needs debootstrap: apt-get install debootstrap"
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
# It is the "/" of the workers of nginx, too.
chmod 755 "$root"

if [ ! -e "$root/etc/debian_version" ]; then
    # shellcheck disable=SC2086
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" ${LLM_MIRROR:-} >"$root/debootstrap.log" 2>&1 \
        || { tail -n 20 "$root/debootstrap.log" >&2; die "debootstrap failed"; }
    # Packages would start their services.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
fi

rm -rf "$root/root/nginx-llm"
mkdir -p "$root/root/nginx-llm"
git archive "${SOURCE_REV:-HEAD}" | tar -x -C "$root/root/nginx-llm"
if [ -n "${NODE_EXTRA_CA_CERTS:-}" ]; then
    cp "$NODE_EXTRA_CA_CERTS" "$root/root/extra-ca.pem"
    NODE_EXTRA_CA_CERTS=/root/extra-ca.pem
    export NODE_EXTRA_CA_CERTS
fi

# In namespaces of its own: when the last command ends, so does all that it started, and nothing stays mounted.
# The other variables that programs look for a home, a compiler or certificates in are the system's and not the chroot's.
unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" \
    env -u TMPDIR -u LIBRARY_PATH -u SSL_CERT_FILE -u SSL_CERT_DIR -u CURL_CA_BUNDLE \
    HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$root" sh -euc '
        cd /root/nginx-llm
        printf "\n=== Debian %s\n" "$(cat /etc/debian_version)"
        sh conf-examples/quickstart.sh
        nginx -v
        sh t/run.sh "$@"' sh "$@"
