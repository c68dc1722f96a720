# shellcheck shell=bash disable=SC2154
# What the numbers were measured on and with, in lines of Markdown. Sourced by run.sh.

# The commit, and whether anything but the results was changed since.
of_commit() {
    local at dirty=
    at=$(git -C "$repo" describe --always 2>/dev/null) || { echo unknown; return; }
    git -C "$repo" diff --quiet HEAD -- . ':!bench/results' || dirty=-dirty
    echo "$at$dirty"
}

describe_machine() {
    local name
    echo "- $(date -u +%Y-%m-%d), $(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)"
    echo "- $(uname -sr), $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release 2>/dev/null), load $(cut -d ' ' -f 1-3 /proc/loadavg) at the end of the run"
    echo "- nginx $("$nginx" -v 2>&1 | sed 's/.*\///'), nginx-llm $(of_commit), OpenSSL $(openssl version | cut -d ' ' -f 2)"
    for name in "${peers[@]:-}"; do
        case $name in
            lua) echo "- lua: $(package_version libnginx-mod-http-lua), $(package_version libluajit2-5.1-2)" ;;
            haproxy) echo "- haproxy: $("$haproxy" -v | sed -n '1s/HAProxy version \([^ ]*\).*/\1/p')" ;;
            fastapi) echo "- fastapi: $("$python" -c 'import sys, fastapi, uvicorn, httpx, uvloop; print("Python", sys.version.split()[0], "fastapi", fastapi.__version__, "uvicorn", uvicorn.__version__, "httpx", httpx.__version__, "uvloop", uvloop.__version__)')" ;;
            portkey) echo "- portkey: node $(node --version), @portkey-ai/gateway $(sed -n 's/^ *"version": "\(.*\)".*/\1/p' "$portkey_home/node_modules/@portkey-ai/gateway/package.json" | head -n 1)" ;;
        esac
    done
    for name in "${!peer_lacks[@]}"; do
        echo "- left out: $name"
    done
}

package_version() { dpkg-query -W -f '${Package} ${Version}' "$1" 2>/dev/null || echo "$1"; }
