# shellcheck shell=bash disable=SC2016,SC2034,SC2086,SC2154
# The scenarios. Sourced by run.sh. Each writes its rounds (CPU ns and units) or values to the result files.

json_path=/v1/chat/completions

# The value of a name=value pair in a line of the client.
value_of() {
    local pair
    for pair in $2; do
        if [ "${pair%%=*}" = "$1" ]; then
            echo "${pair#*=}"
            return
        fi
    done
    die "no $1 in: $2"
}

# scenario mode "contenders" arguments of bench_load...
measure() {
    local scenario=$1 mode=$2 name targets=
    for name in $(with_before $3); do
        targets="$targets $name:${port_of[$name]}:${worker_of[$name]}"
    done
    shift 3
    progress "$scenario"
    # shellcheck disable=SC2086
    $on_load_cpu "$load" "$mode" $targets "$@" >"$tmp/rows" || die "$scenario failed"
    sed "s/^/$scenario,/" "$tmp/rows" >>"$rounds_csv"
}

start_contenders() {
    local name
    for name in $(with_before plain plain4k plain-headers map map-limits $llm $llm_rules $llm_limits $llm_final $llm_continuous); do
        [ -z "${port_of[$name]:-}" ] || continue
        next_port=$((next_port + 1))
        write_conf "$name" "${name%-before}" "$next_port" "$tmp/keys10.json" 64m
        start_nginx "$name" "$next_port"
    done
}

scenario_json() {
    start_contenders
    measure json turns "plain map $llm $llm_rules" path=$json_path connections=32 requests=400 rounds="$json_rounds"
}

scenario_limits() {
    start_contenders
    measure limits turns "plain plain-headers map map-limits $llm_limits" path=$json_path connections=32 requests=400 rounds="$json_rounds"
}

# Bodies of 20 MB, the model and what is capped at their end.
scenario_upload() {
    start_contenders
    measure upload turns "plain $llm $llm_rules" path=$json_path prompt=20000000 connections=2 requests=2 rounds="$upload_rounds"
}

scenario_paced() {
    start_contenders
    # One chunk of each stream a round, all at once, as one step of an engine gives them; 60 more for the time that
    # the start of so many streams takes.
    measure paced slots "plain map $llm $llm_limits $llm_final $llm_continuous" path="$json_path?chunks=$((paced_rounds + 60))&pace=25&spread=1" \
        connections=1000 requests=1000 rounds="$paced_rounds"
}

scenario_line() {
    start_contenders
    local all="plain plain4k map $llm $llm_final $llm_continuous"
    measure line turns "$all" path="$json_path?chunks=1000" connections=8 requests=16 rounds="$line_rounds"
    measure line-null turns "plain $llm_final" path="$json_path?chunks=1000&usage=null" connections=8 requests=16 \
        rounds="$line_rounds"
    measure line-close turns "$all" path="$json_path?chunks=1000&frame=close" connections=8 requests=16 \
        rounds="$line_rounds"
}

# scenario contender what value unit target
note_value() {
    local verdict=-
    if [ -n "$6" ]; then
        verdict=$(awk -v v="$4" -v t="$6" 'BEGIN { print v <= t ? "ok" : "MISSED" }')
    fi
    echo "$1,$2,$3,$4,$5,,$6,$verdict" >>"$values_csv"
}

# The scanner alone: see scan_bench.cpp, which prints its table itself.
scenario_scan() {
    progress "scan"
    [ -x "$scan" ] || { progress "scan: needs Google Benchmark, left out"; return 0; }
    $on_worker_cpu "$scan" --benchmark_format=console --values="$tmp/scan.csv" >"$results/scan.txt" 2>&1 || die "scan_bench failed"
    cat "$tmp/scan.csv" >>"$values_csv"
}

# name kind port key-file zone: nginx as one process under callgrind, which counts only when told to
start_under_callgrind() {
    write_conf "$1" "$2" "$3" "$4" "$5" "daemon off; master_process off;"
    valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file="$tmp/$1/callgrind.out" \
        "$nginx" -p "$tmp/$1" -c "$tmp/$1/nginx.conf" -e "$tmp/$1/error.log" >"$tmp/$1/valgrind.log" 2>&1 &
    master_of[$1]=$!
    pids+=($!)
    port_of[$1]=$3
    wait_for_port "$3" $! 600 "$tmp/$1/valgrind.log"
}

# name requests client-arguments...: prints instructions per request and leaves the profile in callgrind.out.1
count_instructions() {
    local name=$1 requests=$2
    shift 2
    local client="$on_load_cpu $load once $name:${port_of[$name]}:${master_of[$name]} timeout=300"
    $client requests="$requests" "$@" >/dev/null || return 1
    callgrind_control -i on "${master_of[$name]}" >/dev/null 2>&1
    $client requests=100 "$@" >/dev/null || return 1
    callgrind_control -z "${master_of[$name]}" >/dev/null 2>&1
    $client requests="$requests" "$@" >/dev/null || return 1
    callgrind_control -d "${master_of[$name]}" >/dev/null 2>&1
    callgrind_control -i off "${master_of[$name]}" >/dev/null 2>&1
    awk -v n="$requests" '/^(summary|totals):/ { printf "%.0f\n", $2 / n; exit }' "$tmp/$name/callgrind.out.1"
}

scenario_keys() {
    [ -n "$llm" ] || return 0
    if ! command -v valgrind >/dev/null; then
        progress "keys: needs valgrind, left out"
        return 0
    fi
    progress "keys: making $many_keys keys"
    "$load" keys "$many_keys" >"$tmp/keys_many.json"
    local few many base distinct=500
    next_port=$((next_port + 3))
    start_under_callgrind cg-plain plain $((next_port - 2)) "" ""
    base=$(count_instructions cg-plain 1000 path=$json_path)
    stop_nginx cg-plain TERM
    start_under_callgrind cg-few llm $((next_port - 1)) "$tmp/keys10.json" 64m
    few=$(count_instructions cg-few 1000 path=$json_path keys=10 distinct=10)
    stop_nginx cg-few TERM
    progress "keys: reading $many_keys keys"
    start_under_callgrind cg-many llm "$next_port" "$tmp/keys_many.json" "$many_keys_zone"
    many=$(count_instructions cg-many 1000 path=$json_path keys="$many_keys" distinct=$distinct)
    stop_nginx cg-many TERM
    note_value keys plain "instructions per request" "$base" instr ""
    note_value keys llm "with 10 keys" "$few" instr ""
    note_value keys llm "with $many_keys keys" "$many" instr ""
    note_value keys llm "$many_keys keys / 10 keys" "$(ratio "$many" "$few")" ratio 1.05
}

# The critical section alone: see section_bench.cpp.
scenario_section() {
    [ -n "$llm" ] || return 0
    local keys part name rest
    local -A instructions
    for keys in 10 "$many_keys"; do
        progress "section: $keys keys"
        instructions=()
        if command -v valgrind >/dev/null; then
            mkdir -p "$tmp/section"
            rm -f "$tmp"/section/*
            valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file="$tmp/section/out" \
                "$section" count "$keys" >"$tmp/section/requests" 2>/dev/null || die "section_bench failed"
            for part in "$tmp"/section/out.*; do
                name=$(sed -n 's/^desc: Trigger: Client Request: //p' "$part")
                instructions[${name:-none}]=$(awk -v n="$(awk '$1 == "requests" { print $2 }' "$tmp/section/requests")" \
                    '/^(summary|totals):/ { printf "%.0f\n", $2 / n; exit }' "$part")
            done
        fi
        $on_worker_cpu "$section" time "$keys" >"$tmp/section.times" || die "section_bench failed"
        while read -r name rest; do
            note_value section llm-limits "$name with $keys keys" "$rest" ns ""
            [ -z "${instructions[$name]:-}" ] || note_value section llm-limits "$name with $keys keys" "${instructions[$name]}" instr ""
        done <"$tmp/section.times"
    done
}

# Requests while all keys and models are read once a second: see scrape.cpp. The target is that of design: p99 with / without.
scenario_scrape() {
    [ -n "$llm" ] || return 0
    local name path count p50 p99 p999 ratio bytes took what of
    # What else the machine does is to disturb as little as it can: it is the slowest request in a hundred that counts.
    local first=""
    ! chrt -f 5 true 2>/dev/null || first="chrt -f 5"
    local upstream_port=$((upstream_port + 39))
    "$load" keys "$scrape_keys" >"$tmp/keys_scrape.json"
    $first $on_load_cpu "$load" upstream "$upstream_port" sleeping &
    pids+=($!)
    wait_for_port "$upstream_port" $! 10
    for workers in 1 2; do
        for name in $(with_before "$llm"); do
            of=scrape-$workers-$name
            progress "scrape: $name, $workers workers"
            next_port=$((next_port + 1))
            write_conf "$of" llm "$next_port" "$tmp/keys_scrape.json" "$scrape_zone"
            start_nginx "$of" "$next_port" "$first"
            $first $on_load_cpu "$load" scrapes "$name:$next_port:0" path=$json_path connections=64 keys="$scrape_keys" distinct="$scrape_keys" models=5 \
                rate="$scrape_rate" window=1 rounds="$scrape_rounds" scrape=- scrape=/bench_metrics scrape=/bench_status scrape='/bench_status?view=keys' \
                >"$tmp/scrapes" || die "scrape failed"
            while IFS=, read -r _ path count p50 p99 p999 ratio bytes took; do
                what="$workers worker(s), ${path#/bench_}"
                [ "$path" != - ] || what="$workers worker(s), no scrape"
                note_value scrape "$name" "$what: p50" "$p50" us ""
                note_value scrape "$name" "$what: p99" "$p99" us ""
                note_value scrape "$name" "$what: p99.9" "$p999" us ""
                [ "$path" != - ] || continue
                note_value scrape "$name" "$what: p99 / without" "$ratio" ratio 1.2
                note_value scrape "$name" "$what: size" "$bytes" bytes ""
                note_value scrape "$name" "$what: time" "$took" ms ""
            done <"$tmp/scrapes"
            stop_nginx "$of" TERM
        done
    done
    workers=1
}

# Requests beside the keeper, which writes the state of all keys and puts changed keys in force. The windows without it are those in which
# it is stopped.
scenario_keeper() {
    [ -n "$llm" ] || return 0
    local of=keeper name=llm-state path count p50 p99 p999 ratio changes took what pid first=""
    ! chrt -f 5 true 2>/dev/null || first="chrt -f 5"
    local upstream_port=$((upstream_port + 49))
    "$load" keys "$keeper_keys" >"$tmp/keys_keeper.json"
    mkdir -p "$tmp/state"
    $first $on_load_cpu "$load" upstream "$upstream_port" sleeping &
    pids+=($!)
    wait_for_port "$upstream_port" $! 10
    progress "keeper"
    next_port=$((next_port + 1))
    write_conf "$of" "$name" "$next_port" "$tmp/keys_keeper.json" "$scrape_zone"
    start_nginx "$of" "$next_port"
    pid=$(pgrep -P "$(cat "$tmp/$of/nginx.pid")" -f 'cache manager|keeper') || die "no keeper runs"
    $first $on_load_cpu "$load" scrapes "$name:$next_port:0" path=$json_path connections=64 keys="$keeper_keys" distinct=$((keeper_keys - 100)) models=1 \
        rate="$scrape_rate" window=1 rounds="$keeper_rounds" scrape="stop:$pid" scrape=- scrape="keys:$tmp/keys_keeper.json" \
        >"$tmp/keeper.csv" || die "keeper failed"
    while IFS=, read -r _ path count p50 p99 p999 ratio changes took; do
        case $path in
            stop:*) what="without" ;;
            -) what="with" ;;
            *) what="with $changes changes of keys" ;;
        esac
        note_value keeper "$name" "$what: p50" "$p50" us ""
        note_value keeper "$name" "$what: p99" "$p99" us ""
        note_value keeper "$name" "$what: p99.9" "$p999" us ""
        [ "$what" != without ] || continue
        note_value keeper "$name" "$what: p99 / without" "$ratio" ratio 1.05
    done <"$tmp/keeper.csv"
    stop_nginx "$of" TERM
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.4f\n", a / b }'; }

# Tokens that the upstream has counted in the replies it sent.
sent_tokens() {
    curl -s "http://127.0.0.1:$upstream_port/bench/stats" | tr , '\n' \
        | awk -F: '/_tokens/ { sum += $2 } END { printf "%d\n", sum }'
}

# name: total tokens by the status page, summed over keys
status_tokens() {
    curl -s "http://127.0.0.1:${port_of[$1]}/bench_status" | sed 's/.*"keys":\[//; s/"users":.*//' \
        | grep -o '"total_tokens":[0-9]*' | awk -F: '{ sum += $2 } END { printf "%d\n", sum }'
}

log_tokens() {
    grep -o '"total_tokens":"[0-9]*"' "$tmp/$1/access.log" | tr -d '"' | awk -F: '{ sum += $2 } END { printf "%d\n", sum }'
}

# kind: 5,000 streams at once through a fresh nginx; sets `line`. Longer streams if not all ran at the same time.
run_streams() {
    local chunks of=streams-$1
    for chunks in "$streams_chunks" $((3 * streams_chunks)) $((9 * streams_chunks)); do
        next_port=$((next_port + 1))
        rm -rf "${tmp:?}/$of"
        write_conf "$of" "$1" "$next_port" "$tmp/keys10.json" 64m
        start_nginx "$of" "$next_port"
        tokens_before=$(sent_tokens)
        # Warms up what nginx makes once.
        $on_load_cpu "$load" once "$1:$next_port:0" path="$json_path?chunks=20" connections=10 requests=200 >/dev/null
        line=$($on_load_cpu "$load" once "$1:$next_port:${worker_of[$of]}" connections=5000 requests=5000 \
            path="$json_path?chunks=$chunks&pace=400") || die "streams: $1 failed"
        [ "$(value_of peak_anon_kb "$line")" = 0 ] || return 0
        stop_nginx "$of" TERM
    done
    die "streams: 5,000 streams did not run at once"
}

scenario_streams() {
    local name line tokens_before expected
    local -A grown
    for name in plain $llm_final; do
        progress "streams: $name"
        run_streams "$name"
        expected=$(($(sent_tokens) - tokens_before))
        grown[$name]=$((($(value_of peak_anon_kb "$line") - $(value_of anon_kb "$line")) * 1024))
        note_value streams "$name" "worker memory per stream" $((grown[$name] / 5000)) bytes ""
        if [ "$name" = llm-final ]; then
            sleep 1.5
            note_value streams llm-final "tokens sent" "$expected" tokens ""
            note_value streams llm-final "access log differs by" "$(abs $(($(log_tokens streams-llm-final) - expected)))" tokens 0
            note_value streams llm-final "llm_status differs by" "$(abs $(($(status_tokens streams-llm-final) - expected)))" tokens 0
            note_value streams llm-final "module's memory per stream" $(((grown[llm-final] - grown[plain]) / 5000)) bytes 2048
        fi
        stop_nginx "streams-$name" TERM
    done
}

abs() { echo "${1#-}"; }

# Not a measurement but a help: where the instructions of the worker go. No targets.
scenario_profile() {
    local name path what requests out
    for name in $(with_before plain map map-limits $llm $llm_rules $llm_alias $llm_limits $llm_final $llm_continuous); do
        for what in ${BENCH_PROFILE:-json line line-null line-close}; do
            case $what-${name%-before} in
                line*-map | line*-map-limits | line*-llm-limits | line*-llm-rules | line*-llm-alias | json-llm-final | json-llm-continuous) continue ;;
                line-null-llm-final) ;;
                line-null-*) continue ;;
            esac
            path=$json_path requests=1000
            [ $what = json ] || path="$json_path?chunks=1000" requests=30
            [ $what != line-close ] || path="$path&frame=close"
            [ $what != line-null ] || path="$path&usage=null"
            next_port=$((next_port + 1))
            start_under_callgrind "profile-$what-$name" "${name%-before}" "$next_port" "$tmp/keys10.json" 64m
            note_value profile "$name" "instructions per request: $what" \
                "$(count_instructions "profile-$what-$name" $requests "path=$path")" instr ""
            stop_nginx "profile-$what-$name" TERM
            out=$tmp/profile-$what-$name/callgrind.out.1
            callgrind_annotate --auto=no "$out" >"$results/profile-$name-$what.txt"
            callgrind_annotate --auto=no --inclusive=yes "$out" >"$results/profile-$name-$what-inclusive.txt"
            progress "profile: $name $what"
        done
    done
}

# Instructions of the hot paths, for check.sh: path contender requests arguments-of-the-client...
hot_paths=(
    "json llm 1000 path=$json_path"
    "limits llm-limits 1000 path=$json_path"
    "line llm 30 path=$json_path?chunks=1000"
    "final llm-final 30 path=$json_path?chunks=1000"
    "continuous llm-continuous 30 path=$json_path?chunks=1000"
    "refused llm-limits 1000 path=$json_path key=unknown refusal=401"
)
scenario_instructions() {
    [ -n "$llm" ] || die "instructions: needs the module"
    command -v valgrind >/dev/null || die "instructions: needs valgrind"
    local row what name requests arguments count
    for row in "${hot_paths[@]}"; do
        read -r what name requests arguments <<<"$row"
        progress "instructions: $what"
        next_port=$((next_port + 1))
        start_under_callgrind "instructions-$what" "$name" "$next_port" "$tmp/keys10.json" 64m
        count=$(count_instructions "instructions-$what" "$requests" $arguments) || die "instructions: $what failed"
        note_value instructions "$name" "$what" "$count" instr ""
        stop_nginx "instructions-$what" TERM
    done
}
