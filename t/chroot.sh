# Chroots of Debian releases. Sourced by t/debian.sh and t/package.sh.

# What goes wrong is said in the name of the script.
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

need_debootstrap() {
    [ "$(id -u)" = 0 ] || die "this needs root"
    command -v debootstrap >/dev/null || die "this needs debootstrap: apt-get install debootstrap"
}

# make_chroot SUITE DIR: what is there already is taken as it is.
make_chroot() {
    mkdir -p "$2"
    # It is the "/" of the workers of nginx, too.
    chmod 755 "$2"
    if [ ! -e "$2/etc/debian_version" ]; then
        # shellcheck disable=SC2086
        debootstrap --variant=minbase --include=ca-certificates "$1" "$2" ${LLM_MIRROR:-} >"$2/debootstrap.log" 2>&1 \
            || { tail -n 20 "$2/debootstrap.log" >&2; die "debootstrap failed"; }
        # Packages would start their services.
        printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
        chmod 755 "$2/usr/sbin/policy-rc.d"
    fi
}

# The first process of a chroot: it waits for those whose parents are gone, as daemons', which would else never be quite gone.
# shellcheck disable=SC2016
chroot_init='my $child = fork // die; exec @ARGV or die if !$child; 1 while ($pid = wait) != $child && $pid > 0; exit($? >> 8 || $? & 127)'

# in_chroot DIR [--no-network] SCRIPT [ARG...]: runs a script of sh.
# In namespaces of its own: when it ends, so does all that it started, and nothing stays mounted.
# The other variables that programs look for a home, a compiler or certificates in are the system's and not the chroot's.
in_chroot() {
    in=$1
    shift
    network=
    if [ "$1" = --no-network ]; then
        network=--net
        shift
    fi
    script=$1
    shift
    # shellcheck disable=SC2086
    unshare --mount --pid $network --fork --kill-child --mount-proc="$in/proc" \
        env -u TMPDIR -u LIBRARY_PATH -u SSL_CERT_FILE -u SSL_CERT_DIR -u CURL_CA_BUNDLE -u CC -u CXX -u CPPFLAGS -u CFLAGS -u CXXFLAGS -u LDFLAGS \
        -u CMAKE_C_COMPILER_LAUNCHER -u CMAKE_CXX_COMPILER_LAUNCHER -u CMAKE_GENERATOR -u CMAKE_BUILD_TYPE \
        HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        chroot "$in" perl -e "$chroot_init" sh -euc "$script" sh "$@"
}
