# shellcheck shell=bash disable=SC2034,SC2086,SC2154
# The scenarios of `peers`: this module with everything on beside what else people put there. Sourced by run.sh.

peer_scenarios=(json saturation line paced prompt refused keys latency memory)

scenario_peers() {
    local what
    for what in "${peer_scenarios[@]}"; do
        "scenario_peers_$what"
    done
}

note_rows() { sed "s/^/$1,/" "$tmp/rows" >>"$rounds_csv"; }

# The contenders that all scenarios share.
start_peers() {
    find_peers
    local name
    for name in "${peers[@]}" $(! has_peer lua || echo lua-find); do
        [ -z "${port_of[peer-$name]:-}" ] || continue
        progress "peers: $name starts"
        start_peer "$name" "peer-$name"
        [ "$name" != llm-all ] || scrape_peer "peer-$name"
    done
}

stop_peers() {
    local name
    for name in "$@"; do
        [ -z "${port_of[$name]:-}" ] || stop_nginx "$name" TERM
        unset "port_of[$name]"
    done
}

scenario_peers_json() {
    start_peers
    measure_peers peers-json turns "${peers[*]}" peer path=$json_path connections=32 requests=400 rounds="$peers_rounds"
    note_rows peers-json
}

# As many requests as it can serve: 64 clients that ask again at once.
scenario_peers_saturation() {
    start_peers
    measure_peers peers-saturation turns "${peers[*]}" peer path=$json_path connections=64 requests=$((peers_rounds * 20)) rounds=$((peers_rounds / 5))
    note_rows peers-saturation
}

scenario_peers_line() {
    start_peers
    measure_peers peers-line turns "${peers[*]} lua-find" peer path="$json_path?chunks=1000" connections=8 requests=16 rounds="$peers_rounds"
    note_rows peers-line
}

# All 2,000 streams of each contender are open all the time; of slow ones 100.
scenario_peers_paced() {
    start_peers
    measure_peers peers-paced slots "${peers[*]}" peer path="$json_path?chunks=$((peers_paced_rounds + 90))&pace=45&spread=1" \
        connections="$peers_streams" requests="$peers_streams" rounds="$peers_paced_rounds" slot=60
    note_rows peers-paced
}

scenario_peers_prompt() {
    start_peers
    measure_peers peers-prompt turns "${peers[*]}" peer path=$json_path prompt=1000000 connections=4 requests=40 rounds=$((peers_rounds / 2))
    note_rows peers-prompt
}

# Wrong keys, and keys at their limit. Portkey and plain have neither.
scenario_peers_refused() {
    start_peers
    local name refusing=()
    for name in "${peers[@]}"; do
        [ "$name" != plain ] && [ "$name" != portkey ] || continue
        refusing+=("$name")
        peer_refuses=1
        start_peer "$name" "refuses-$name"
        peer_refuses=
    done
    measure_peers peers-401 turns "${refusing[*]}" peer path=$json_path connections=32 requests=400 rounds="$peers_rounds" refusal=401 key=unknown
    note_rows peers-401
    measure_peers peers-429 turns "${refusing[*]}" refuses path=$json_path connections=32 requests=400 rounds="$peers_rounds" refusal=429
    note_rows peers-429
    stop_peers "${refusing[@]/#/refuses-}"
}

scenario_peers_keys() {
    find_peers
    local name keys with_keys=()
    for name in "${peers[@]}"; do
        [ "$name" = portkey ] || with_keys+=("$name")
    done
    for keys in ${BENCH_KEY_COUNTS:-10 1000 100000 1000000}; do
        peer_keys=$keys
        for name in "${with_keys[@]}"; do
            progress "peers: $name with $keys keys"
            start_peer "$name" "keys-$name"
        done
        peer_keys=10
        measure_peers "peers-keys-$keys" turns "${with_keys[*]}" keys path=$json_path connections=32 requests=400 rounds=$((peers_rounds / 2)) \
            keys="$keys" distinct=$((keys < 10000 ? keys : 10000))
        note_rows "peers-keys-$keys"
        stop_peers "${with_keys[@]/#/keys-}"
    done
}

# name: its requests a second at saturation, from the rounds of that scenario
speed_of() {
    awk -F, -v name="$1" '$1 == "peers-saturation" && $2 == name { n += $5; us += $6 } END { printf "%d\n", us ? n * 1000000 / us : 0 }' "$rounds_csv"
}

# The time of requests at half the load that this module (else plain) can bear, and of slow contenders at half of what they can.
# `direct` asks the upstream itself.
scenario_peers_latency() {
    find_peers
    grep -q '^peers-saturation,' "$rounds_csv" || scenario_peers_saturation
    local first="" name rate own upstream_port=$((upstream_port + 59)) of=plain
    local -A peer_fewer
    ! chrt -f 5 true 2>/dev/null || first="chrt -f 5"
    $first $on_load_cpu "$load" upstream "$upstream_port" sleeping &
    pids+=($!)
    wait_for_port "$upstream_port" $! 10
    port_of[latency-direct]=$upstream_port worker_of[latency-direct]=0
    ! has_peer llm-all || of=llm-all
    rate=$(($(speed_of $of) / 2))
    for name in "${peers[@]}"; do
        # The threads of node wait for each other by spinning, which never ends with real-time priority on one CPU.
        start_peer "$name" "latency-$name" "$([ "$name" = portkey ] || echo "$first")"
        [ "$name" != llm-all ] || scrape_peer "latency-$name"
        own=$(($(speed_of "$name") / 2))
        [ "$own" -ge $((rate * 9 / 10)) ] || peer_fewer[$name]=$(((rate + own - 1) / (own > 0 ? own : 1)))
        note_value peers-latency "$name" "requests a second" $((rate / ${peer_fewer[$name]:-1})) "1/s" ""
    done
    sleep 2
    load_first=$first
    measure_peers peers-latency rate "direct ${peers[*]}" latency path=$json_path connections=64 rate="$rate" window=1 rounds="$peers_latency_rounds"
    load_first=
    awk -F, '{ print "peers-latency-" $3 "," $1 "," $2 "," $4 "," $5 ",0" }' "$tmp/rows" | sort -s -t, -k 1,1 >>"$rounds_csv"
    awk -f "$here/lib/added.awk" "$tmp/rows" >>"$values_csv"
    stop_peers "${peers[@]/#/latency-}"
}

# 2,000 streams at once through a fresh contender, of slow ones 200.
scenario_peers_memory() {
    find_peers
    local name line streams chunks instance plain_bytes="" bytes
    for name in "${peers[@]}"; do
        streams=$((peer_fewer[$name] > 1 ? peers_streams / 10 : peers_streams))
        for chunks in 15 45 135; do
            instance=memory-$chunks-$name
            start_peer "$name" "$instance"
            measure_peers peers-memory once "$name" "memory-$chunks" path="$json_path?chunks=20" connections=10 requests=200
            measure_peers peers-memory once "$name" "memory-$chunks" path="$json_path?chunks=$chunks&pace=400" connections=$streams requests=$streams
            line=$(cat "$tmp/rows")
            stop_peers "$instance"
            [ "$(value_of peak_anon_kb "$line")" = 0 ] || break
        done
        bytes=$((($(value_of peak_anon_kb "$line") - $(value_of anon_kb "$line")) * 1024 / streams))
        note_value peers-memory "$name" "memory per stream" "$bytes" bytes ""
        [ "$name" != plain ] || plain_bytes=$bytes
        [ "$name" != llm-all ] || note_value peers-memory "$name" "more than plain per stream" $((bytes - plain_bytes)) bytes 1024
    done
}
