#!/bin/sh
# Builds the packages libnginx-mod-http-llm and llmctl for this Debian (12 or 13), and installs them. As root:
#
#   sh conf-examples/install.sh                builds and installs
#   sh conf-examples/install.sh --build DIR    only builds: the packages are in DIR then
#   sh conf-examples/install.sh --from DIR     only installs those in DIR
#
# The tree stays as it is. DEB_BUILD_OPTIONS is dpkg-buildpackage's; without it, the unit tests are not built.

set -eu

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

to=
from=
case $#:${1:-} in
    0:) ;;
    2:--build) to=$2 ;;
    2:--from) from=$2 ;;
    *) die "usage: sh $0 [--build DIR | --from DIR]" ;;
esac
command -v dpkg >/dev/null || die "this is for Debian 12 and 13. README.md says how to build elsewhere"
[ "$(id -u)" = 0 ] || die "this needs root"
tree=$(cd "$(dirname "$0")/.." && pwd)
work=
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND

if [ -z "$from" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    mkdir "$work/nginx-llm"
    tar -C "$tree" --exclude-vcs --exclude='./build*' --exclude=node_modules -cf - . | tar -C "$work/nginx-llm" -xf -

    DEB_BUILD_OPTIONS=${DEB_BUILD_OPTIONS-nocheck parallel=$(nproc)}
    case " $DEB_BUILD_OPTIONS " in
        *" nocheck "*) DEB_BUILD_PROFILES=nocheck ;;
        *) DEB_BUILD_PROFILES= ;;
    esac
    export DEB_BUILD_OPTIONS DEB_BUILD_PROFILES
    apt-get update -q
    apt-get build-dep -q -y --no-install-recommends -o APT::Get::Build-Dep-Automatic=true "$work/nginx-llm"
    (cd "$work/nginx-llm" && dpkg-buildpackage -b -us -uc)
    if [ -n "$to" ]; then
        mkdir -p "$to"
        cp "$work"/*.deb "$work"/*.buildinfo "$work"/*.changes "$to/"
        exit 0
    fi
    from=$work
fi

from=$(cd "$from" && pwd)
ls "$from"/libnginx-mod-http-llm_*.deb "$from"/llmctl_*.deb >/dev/null || die "there are no packages in $from"
# apt reads them as a user of its own, who cannot get into a temporary folder.
[ -z "$work" ] || chmod 755 "$work"
apt-get update -q
apt-get install -q -y --no-install-recommends "$from"/libnginx-mod-http-llm_*.deb "$from"/llmctl_*.deb

cat <<'END'

Installed. The model server's address is in /etc/nginx/sites-available/llm. What is next:

    llmctl key add alice
    ln -s ../sites-available/llm /etc/nginx/sites-enabled/llm
    nginx -t && service nginx reload

What was needed only to build it goes with `apt-get autoremove`.
END
