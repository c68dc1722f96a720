# shellcheck shell=bash disable=SC2016,SC2034,SC2086,SC2154
# The contenders of `peers`: what each needs, and how it is started with so many keys. Sourced by run.sh.

lua_modules=${LUA_MODULES:-/usr/lib/nginx/modules}
python=${PEERS_PYTHON:-/usr/bin/python3}
haproxy=${HAPROXY:-haproxy}
portkey_home=${PORTKEY_HOME:-$repo/build-bench/portkey}
portkey=$portkey_home/node_modules/@portkey-ai/gateway/build/start-server.js
all_peers=(plain map-limits lua haproxy fastapi portkey llm-all)
# So many times fewer requests than the others get.
declare -A peer_fewer=([fastapi]=20 [portkey]=20)
declare -A peer_lacks

# Fills peers and peer_lacks; says what is left out, and how to have it.
find_peers() {
    [ -z "${peers[*]:-}" ] || return 0
    [ -e "$lua_modules/ngx_http_lua_module.so" ] && ls /usr/lib/*/lua/5.1/cjson.so >/dev/null 2>&1 \
        || peer_lacks[lua]="apt-get install libnginx-mod-http-lua lua-cjson"
    command -v "$haproxy" >/dev/null || peer_lacks[haproxy]="apt-get install haproxy"
    "$python" -c 'import fastapi, httpx, uvicorn, uvloop, httptools' 2>/dev/null \
        || peer_lacks[fastapi]="apt-get install python3-fastapi python3-uvicorn python3-httpx python3-uvloop python3-httptools"
    { command -v node >/dev/null && [ -f "$portkey" ]; } \
        || peer_lacks[portkey]="node, and: mkdir -p $portkey_home && cp $here/peers/package.json $portkey_home && npm install --ignore-scripts --prefix $portkey_home"
    [ -n "$llm" ] || peer_lacks[llm-all]="LLM_MODULE"
    local name
    for name in "${all_peers[@]}"; do
        if [ -n "${peer_lacks[$name]:-}" ]; then
            echo "bench: peers: $name is left out, it needs: ${peer_lacks[$name]}" >&2
        else
            peers+=("$name")
        fi
    done
}

has_peer() { [[ " ${peers[*]} " = *" $1 "* ]]; }

# Keys in all forms, once for each count.
write_peer_keys() {
    [ -e "$tmp/names$1" ] || "$load" names "$1" >"$tmp/names$1"
    [ -e "$tmp/keys$1.json" ] || "$load" keys "$1" >"$tmp/keys$1.json"
}

# Memory of the shared zone for so many keys.
peer_zone() {
    if [ "$1" -le 10000 ]; then echo 64m; elif [ "$1" -le 100000 ]; then echo 160m; else echo "$many_keys_zone"; fi
}

write_haproxy_conf() {
    local dir=$1 most=${peer_refuses:+0} log
    most=${most:-1000000000}
    # As many fields as the others log.
    log='{\"time\":\"%trl\",\"status\":%ST,\"uri\":\"%HP\",\"bytes\":%B,\"seconds\":%Ta,\"upstream_seconds\":%Tr,'
    log=$log'\"address\":\"%ci\",\"method\":\"%HM\",\"protocol\":\"%HV\",\"host\":\"%H\",\"request_bytes\":%U,\"sent\":%B,'
    log=$log'\"connection\":%fc,\"requests\":%rt,\"state\":\"%ts\",\"header_seconds\":%Tw,\"user\":\"%[var(txn.user)]\"}'
    cat >"$dir/haproxy.cfg" <<CONF
global
    maxconn $((open_files / 2 - 64))
    nbthread 1
    log stdout format raw local0
defaults
    mode http
    timeout connect 60s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 3600s
    option http-no-delay
    http-reuse always
    log global
    log-format "$log"
backend per_key
    stick-table type string len 64 size 1m expire 2m store http_req_rate(60s),conn_cur
backend per_user
    stick-table type string len 64 size 1m expire 2m store http_req_rate(60s),conn_cur
backend per_address
    stick-table type ip size 1m expire 2m store http_req_rate(60s),conn_cur
frontend gateway
    bind 127.0.0.1:$2 backlog 8192
    http-request set-var(txn.key) http_auth_bearer
    http-request set-var(txn.user) var(txn.key),map_str($tmp/names$peer_keys)
    http-request deny deny_status 401 unless { var(txn.user) -m found }
    http-request track-sc0 var(txn.key) table per_key
    http-request track-sc1 var(txn.user) table per_user
    http-request track-sc2 src table per_address
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt $most } or { sc_http_req_rate(1) gt $most } or { sc_http_req_rate(2) gt $most } or { fe_req_rate gt $most }
    http-request deny deny_status 429 if { sc_conn_cur(0) gt 60000 } or { sc_conn_cur(1) gt 60000 } or { sc_conn_cur(2) gt 60000 } or { fe_conn gt 60000 }
    default_backend models
backend models
    server models 127.0.0.1:$upstream_port pool-max-conn 256
CONF
}

# of port directory: the command of a contender that is no nginx, in `command`, its standard output in `output`
peer_command() {
    output=$3/start.log
    case $1 in
        haproxy)
            write_haproxy_conf "$3" "$2"
            command=("$haproxy" -db -f "$3/haproxy.cfg")
            output=$3/access.log
            ;;
        fastapi)
            command=(env BENCH_UPSTREAM="http://127.0.0.1:$upstream_port" BENCH_KEYS="$tmp/names$peer_keys" BENCH_LOG="$3/access.log"
                BENCH_REQUESTS="$([ -n "$peer_refuses" ] && echo 0 || echo 1000000000)" PYTHONDONTWRITEBYTECODE=1
                "$python" -m uvicorn --app-dir "$here/peers" --host 127.0.0.1 --port "$2" --no-access-log --log-level error
                --timeout-keep-alive 3600 --backlog 8192 proxy:app)
            ;;
        portkey) command=(env NODE_ENV=production node "$portkey" --port="$2" --headless) ;;
    esac
}

# of instance [before]: starts the contender `of`, by the command `before`; port_of and worker_of have what it got
start_peer() {
    local of=$1 dir=$tmp/$2 output command
    next_port=$((next_port + 1))
    write_peer_keys "$peer_keys"
    case $of in
        haproxy | fastapi | portkey)
            mkdir -p "$dir"
            peer_command "$of" "$next_port" "$dir"
            ${3:-} $on_worker_cpu "${command[@]}" >>"$output" 2>>"$dir/error.log" &
            master_of[$2]=$!
            pids+=($!)
            port_of[$2]=$next_port
            wait_for_port "$next_port" $! 300 "$dir/error.log"
            worker_of[$2]=${master_of[$2]}
            ;;
        *)
            write_conf "$2" "$of" "$next_port" "$tmp/keys$peer_keys.json" "$(peer_zone "$peer_keys")"
            start_nginx "$2" "$next_port" "${3:-}"
            [ "$of" != llm-all ] || worker_of[$2]=${worker_of[$2]}+$(pgrep -P "${master_of[$2]}" -f 'cache manager|keeper')
            ;;
    esac
}

# All metrics of an instance once a second, as Prometheus reads them, until it ends.
scrape_peer() {
    local url="http://127.0.0.1:${port_of[$1]}/bench_metrics"
    (while sleep 1 && curl -sf -o /dev/null "$url"; do :; done) &
    pids+=($!)
}

# scenario mode "contenders" prefix arguments of bench_load...: as `measure`, of instances that are named PREFIX-CONTENDER
measure_peers() {
    local scenario=$1 mode=$2 name instance targets= headers=() output=$tmp/rows
    for name in $3; do
        instance=$4-$name
        [ -n "${port_of[$instance]:-}" ] || continue
        targets="$targets $name:${port_of[$instance]}:${worker_of[$instance]}:${peer_fewer[$name]:-1}"
        [ "$name" != portkey ] || headers=("header@portkey=x-portkey-provider: openai"
            "header@portkey=x-portkey-custom-host: http://127.0.0.1:$upstream_port/v1"
            'header@portkey=x-bench-plan: $query' "header@portkey=x-portkey-forward-headers: x-bench-plan")
    done
    shift 4
    progress "$scenario"
    ${load_first:-} $on_load_cpu "$load" "$mode" $targets "${headers[@]}" timeout=900 "$@" >"$output" || die "$scenario failed"
}
