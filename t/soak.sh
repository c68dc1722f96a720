#!/bin/sh
# Soaks the gateway: t/chaos.t for minutes or hours, with all that can go wrong, and with all books compared after each round.
#
#   sh t/soak.sh            10 minutes
#   sh t/soak.sh 30         30 minutes
#   sh t/soak.sh 8h         hours
#
#   LLM_SEED=N       chooses what happens; it is shown at the beginning
#   LLM_MODULE=FILE  the module; without it, build/ is brought up to date first
#   LLM_NGINX=FILE   another nginx than Debian's
#   LLM_NICE=N       how far it stands back behind other programs (default 10)
#
# Best as root, and with the packages libfaketime and sqlite3: else no disk is full, and the clock is not set. What it says goes to
# build/soak.log too (LLM_SOAK_LOG=FILE: there). Ends with status 0 if no book differed, nothing was held, nothing grew, and nginx
# logged no alert.

set -u
cd "$(dirname "$0")/.." || exit 1

case ${1:-10} in
    *[!0-9h]* | h* | *h?* | 0*) echo "soak.sh: how long? sh t/soak.sh [MINUTES | HOURSh]" >&2; exit 2 ;;
    *h) minutes=$((${1%h} * 60)) ;;
    *) minutes=${1:-10} ;;
esac

if [ -z "${LLM_MODULE:-}" ]; then
    cmake -S . -B build -G Ninja -DLLM_DEV=ON > /dev/null && cmake --build build --target ngx_http_llm_module llmctl soak_load || exit 1
    LLM_MODULE=$PWD/build/ngx_http_llm_module.so
    export LLM_MODULE
fi
log=${LLM_SOAK_LOG:-build/soak.log}
mkdir -p "$(dirname "$log")"
echo "soaking for $minutes minutes; $log has what it says"

# The status is that of perl, and not of tee.
LLM_CHAOS=$((minutes * 60))
export LLM_CHAOS
{ nice -n "${LLM_NICE:-10}" perl -It/lib t/chaos.t 2>&1; echo "status $?"; } | tee "$log"
tail -n 1 "$log" | grep -qx 'status 0'
