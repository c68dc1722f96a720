#!/bin/bash
# The gateway beside its peers, in one run. See README.md.
# usage: bench/run.sh [--quick] [json|limits|upload|paced|line|scan|keys|section|streams|scrape|keeper|profile|instructions|peers|peers-WHAT|all]...
# Environment: LLM_MODULE (the module; "none" measures the others only), LLM_BEFORE (another build of it, to compare with), NGINX,
# BENCH_PORT (first of 120 ports).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(dirname "$here")
nginx=${NGINX:-nginx}
module=${LLM_MODULE:-$repo/build/ngx_http_llm_module.so}
before=${LLM_BEFORE:-}
upstream_port=${BENCH_PORT:-18700}
next_port=$upstream_port
results=${BENCH_RESULTS:-$here/results}
open_files=16384
llm=llm llm_limits=llm-limits llm_rules=llm-rules llm_alias=llm-alias llm_final=llm-final llm_continuous=llm-continuous

declare -A port_of worker_of master_of
pids=()
tmp=

die() {
    echo "bench: $*" >&2
    exit 1
}
progress() { [ ! -t 2 ] || printf '\r\033[K%s' "$*" >&2; }

cleanup() {
    local pid
    for pid in "${pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        local i
        for ((i = 0; i < 50; i++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "${BENCH_KEEP:-}" ]; then
        echo "kept: $tmp" >&2
    else
        rm -rf "$tmp"
    fi
}

# shellcheck source=lib/nginx.sh
. "$here/lib/nginx.sh"
# shellcheck source=lib/scenarios.sh
. "$here/lib/scenarios.sh"
# shellcheck source=lib/peers.sh
. "$here/lib/peers.sh"
# shellcheck source=lib/peer_scenarios.sh
. "$here/lib/peer_scenarios.sh"
# shellcheck source=lib/machine.sh
. "$here/lib/machine.sh"

json_rounds=500 paced_rounds=400 line_rounds=300
upload_rounds=60
streams_chunks=25
many_keys=1000000 many_keys_zone=1100m
scrape_keys=10000 scrape_zone=80m scrape_rate=1000 scrape_rounds=30
keeper_keys=5000 keeper_rounds=30
peers_rounds=200 peers_paced_rounds=200 peers_latency_rounds=20 peers_streams=2000
workers=1

everything=(json limits upload paced line scan keys section streams scrape keeper peers)
wanted=() quick=
for argument in "$@"; do
    case $argument in
        --quick)
            quick=1
            json_rounds=200 paced_rounds=120 line_rounds=120
            upload_rounds=30
            streams_chunks=20
            scrape_rounds=10 keeper_rounds=10
            peers_rounds=40 peers_paced_rounds=40 peers_latency_rounds=4 peers_streams=400
            ;;
        json | limits | upload | paced | line | scan | keys | section | streams | scrape | keeper | profile | instructions | peers) wanted+=("$argument") ;;
        peers-json | peers-saturation | peers-line | peers-paced | peers-prompt | peers-refused | peers-keys | peers-latency | peers-memory)
            wanted+=("${argument/-/_}")
            ;;
        all) wanted+=("${everything[@]}") ;;
        *)
            sed -n '3,5s/^# //p' "$0" >&2
            exit 2
            ;;
    esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${everything[@]}")

if [ "$module" = none ]; then
    llm='' llm_limits='' llm_rules='' llm_alias='' llm_final='' llm_continuous=''
elif [ ! -f "$module" ]; then
    die "no module at $module: build it (cmake --build build) or set LLM_MODULE"
else
    module=$(realpath "$module")
    [ -z "$before" ] || before=$(realpath -e "$before") || die "no module at $LLM_BEFORE"
fi
[ "$(ulimit -n)" -ge "$open_files" ] || ulimit -n "$open_files" || die "needs $open_files open files (ulimit -n)"

# The worker has one CPU for itself where there are two.
on_load_cpu="" on_worker_cpu="" worker_mask=""
if [ "$(nproc)" -ge 2 ] && taskset -c 0 true 2>/dev/null && taskset -c 1 true 2>/dev/null; then
    on_load_cpu="taskset -c 0" on_worker_cpu="taskset -c 1" worker_mask=10
fi

load=$repo/build-bench/bench_load
section=$repo/build-bench/section_bench
scan=$repo/build-bench/scan_bench
cmake -S "$here" -B "$repo/build-bench" -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
programs=(bench_load)
case " ${wanted[*]} " in *" section "*) programs+=(section_bench) ;; esac
case " ${wanted[*]} " in *" scan "*) ! grep -q '^benchmark_DIR:PATH=/' "$repo/build-bench/CMakeCache.txt" || programs+=(scan_bench) ;; esac
cmake --build "$repo/build-bench" --target "${programs[@]}" >/dev/null || die "the programs of the bench do not build"

tmp=$(mktemp -d)
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir -p "$results"
rounds_csv=$results/rounds.csv
values_csv=$tmp/values.csv
: >"$values_csv"
: >"$rounds_csv"

write_proxy_settings
write_peer_keys 10
$on_load_cpu "$load" upstream "$upstream_port" &
pids+=($!)
wait_for_port "$upstream_port" $! 10

for scenario in "${wanted[@]}"; do
    "scenario_$scenario"
done
progress ""

awk -f "$here/lib/summary.awk" "$rounds_csv" "$values_csv" >"$results/summary.csv"
awk -f "$here/lib/plot.awk" "$results/summary.csv" >"$results/bench.svg"
if grep -q '^peers' "$results/summary.csv"; then
    # Those of a whole run are kept in the repository: others do not replace them.
    peers_name="peers-part"
    [[ " ${wanted[*]} " != *" peers "* ]] || [ -n "$quick" ] || peers_name=peers
    grep '^scenario\|^peers' "$results/summary.csv" >"$results/$peers_name.csv"
    awk -f "$here/lib/peers_plot.awk" "$results/$peers_name.csv" >"$results/$peers_name.svg"
    {
        describe_machine
        echo
        awk -f "$here/lib/peers_table.awk" "$results/$peers_name.csv"
    } >"$results/$peers_name.md"
fi
awk -f "$here/lib/table.awk" "$results/summary.csv"
