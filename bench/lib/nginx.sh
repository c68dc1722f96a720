# shellcheck shell=bash disable=SC2013,SC2016,SC2034,SC2086,SC2154
# nginx instances of the bench: one directory, one port, one worker each. Sourced by run.sh.

# The proxy settings that all contenders share: the ones users are told to include, or the same written out.
write_proxy_settings() {
    if [ -f "$repo/conf-examples/llm_proxy.conf" ]; then
        cp "$repo/conf-examples/llm_proxy.conf" "$tmp/proxy.conf"
    else
        cat >"$tmp/proxy.conf" <<'CONF'
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $host;
proxy_set_header Accept-Encoding "";
proxy_buffering off;
proxy_buffer_size 16k;
proxy_buffers 4 16k;
proxy_busy_buffers_size 32k;
proxy_read_timeout 600s;
proxy_send_timeout 600s;
CONF
    fi
    sed '/^[[:space:]]*proxy_\(buffer_size\|buffers\|busy_buffers_size\)[[:space:]]/d' "$tmp/proxy.conf" >"$tmp/proxy4k.conf"
    echo 'proxy_buffer_size 4k;' >>"$tmp/proxy4k.conf"
}

# kind: whether it is one of those with the module
uses_module() { [[ $1 = llm* ]]; }

# Those with the module once more with the other build, where there is one.
with_before() {
    local name
    for name in "$@"; do
        echo "$name"
        [ -z "$before" ] || ! uses_module "$name" || { [ "$name" = llm-rules ] && ! grep -q llm_request "$before"; } || echo "$name-before"
    done
}

# All kinds of limits in all scopes, none of which is ever reached. bench/section_bench.cpp has the same.
# Wrong keys are measured with their refusal, not with that of their sum.
write_all_limits() {
    local scope
    for scope in key user model address zone; do
        echo "llm_limit per=$scope requests=1000000r/s burst=1000000 concurrency=60000 tokens=1000m/m quota=1000000m/mo$([ $scope != address ] || echo ' failures=1000000r/s');"
    done
}

# What nginx's own modules have of these limits: they see no model and no tokens.
nginx_scopes=('key $http_authorization' 'user $bench_user' 'address $binary_remote_addr' 'zone $server_addr')

# $1: kind of contender, $2: key file and $3: zone size where the module is used, $4: port, $5: its directory
# peer_keys: how many keys it has where it has no key file; peer_refuses: whether its limits are to be so low that all is refused.
peer_keys=10 peer_refuses=
write_http_part() {
    case $1 in
        map*)
            [ "$peer_keys" -le 10 ] || echo "map_hash_max_size $((4 * peer_keys)); map_hash_bucket_size 512;"
            echo 'map $http_authorization $bench_user {'
            echo '    default "";'
            sed 's/\([^ ]*\) \(.*\)/    "Bearer \1" \2;/' "$tmp/names$peer_keys"
            echo '}'
            local scope rate=1000000r/s
            [ -z "$peer_refuses" ] || rate=1r/m
            for scope in "${nginx_scopes[@]}"; do
                [ "$1" = map-limits ] || [ "${scope% *}" = user ] || continue
                echo "limit_req_zone ${scope#* } zone=requests_${scope% *}:10m rate=$rate;"
                echo "limit_conn_zone ${scope#* } zone=connections_${scope% *}:10m;"
            done
            ;;
        lua*)
            # A key takes some 130 bytes of a shared dictionary.
            cat <<CONF
lua_package_path "$here/peers/?.lua;;";
lua_shared_dict keys $((1 + peer_keys / 4000))m;
lua_shared_dict counters 64m;
init_by_lua_block {
    local gateway = require "gateway"
    gateway.load("$tmp/names$peer_keys")
    $([ -z "$peer_refuses" ] || echo "gateway.limits.requests = 0")
    $([ "$1" != lua-find ] || echo "gateway.decodes_all = false")
}
CONF
            ;;
        llm*)
            case $1 in
                llm-state) echo "llm_zone bench:$3 state=$tmp/state/state.db;" ;;
                llm-all) echo "llm_zone bench:$3 state=$5/state/state.db;" ;;
                *) echo "llm_zone bench:$3;" ;;
            esac
            echo "llm_api_keys $2;"
            case $1 in
                llm | llm-state) echo 'llm_usage_inject off;' ;;
                llm-rules) echo 'llm_usage_inject off; llm_request cap max_tokens 128;' ;;
                llm-alias) echo 'llm_usage_inject off; llm_request cap max_tokens 128; llm_model other to=models; llm_model bench-model to=models as=model-of-the-server;' ;;
                llm-final) echo 'llm_usage_inject final;' ;;
                llm-continuous) echo 'llm_usage_inject continuous;' ;;
                llm-limits) write_all_limits ;;
                llm-all)
                    echo 'llm_usage_inject final;'
                    local few=
                    [ -z "$peer_refuses" ] || few='s|requests=1000000r/s burst=1000000|requests=1r/h burst=0|'
                    write_all_limits | sed "$few"
                    ;;
            esac
            ;;
    esac
    local common='"time":"$time_iso8601","status":$status,"uri":"$uri","bytes":$body_bytes_sent,"seconds":$request_time'
    common=$common',"upstream_seconds":"$upstream_response_time"'
    # Every contender writes the same number of fields: what nginx itself takes for a field is no cost of the module.
    local own=',"address":"$remote_addr","method":"$request_method","protocol":"$server_protocol","host":"$host"'
    own=$own',"request_bytes":"$request_length","sent":"$bytes_sent","connection":"$connection"'
    own=$own',"requests":"$connection_requests","upstream_status":"$upstream_status"'
    own=$own',"header_seconds":"$upstream_header_time","port":"$server_port"'
    case $1 in
        map*) own=${own/'"port":"$server_port"'/'"user":"$bench_user"'} ;;
        llm*)
            own=',"key":"$llm_key","user":"$llm_user","model":"$llm_model","stream":"$llm_stream"'
            own=$own',"prompt_tokens":"$llm_prompt_tokens","completion_tokens":"$llm_completion_tokens"'
            own=$own',"total_tokens":"$llm_total_tokens","usage_source":"$llm_usage_source"'
            own=$own',"outcome":"$llm_outcome","refusal":"$llm_refusal","first_token":"$llm_time_to_first_token"'
            ;;
        lua*)
            own=${own/'"port":"$server_port"'/'"user":"$bench_user"'}
            own=${own/'"address":"$remote_addr"'/'"model":"$bench_model"'}
            own=${own/'"method":"$request_method"'/'"prompt_tokens":"$bench_prompt_tokens"'}
            own=${own/'"protocol":"$server_protocol"'/'"completion_tokens":"$bench_completion_tokens"'}
            ;;
    esac
    echo "log_format bench escape=json '{$common$own}';"
}

write_location_part() {
    case $1 in
        plain-headers)
            local what
            for what in requests tokens; do
                echo "add_header x-ratelimit-limit-$what 1000001;"
                echo "add_header x-ratelimit-remaining-$what 1000000;"
                echo "add_header x-ratelimit-reset-$what 1ms;"
            done
            ;;
        lua*)
            local variable
            for variable in user model prompt_tokens completion_tokens; do
                echo "set \$bench_$variable \"\";"
            done
            for variable in access header_filter body_filter log; do
                echo "${variable}_by_lua_block { require(\"gateway\").$variable() }"
            done
            ;;
        map*)
            echo 'if ($bench_user = "") { return 401; }'
            [ -z "$peer_refuses" ] || echo 'limit_req_status 429; limit_conn_status 429;'
            local scope burst="burst=1000000 nodelay"
            [ -z "$peer_refuses" ] || burst=
            for scope in "${nginx_scopes[@]}"; do
                [ "$1" = map-limits ] || [ "${scope% *}" = user ] || continue
                echo "limit_req zone=requests_${scope% *} $burst;"
                echo "limit_conn connections_${scope% *} 60000;"
            done
            ;;
    esac
    if [ "$1" = plain4k ]; then
        echo "include $tmp/proxy4k.conf;"
    else
        echo "include $tmp/proxy.conf;"
    fi
}

# name kind port [key file] [zone size] [top-level directives]
write_conf() {
    local dir=$tmp/$1 build=$module
    mkdir -p "$dir/state"
    [[ $1 != *-before ]] || build=$before
    {
        ! uses_module "$2" || echo "load_module $build;"
        [[ $2 != lua* ]] || printf 'load_module %s;\n' "$lua_modules"/{ndk_http,ngx_http_lua}_module.so
        [ "$(id -u)" != 0 ] || echo "user root;"
        echo "worker_processes $workers;"
        [ -z "$worker_mask" ] || [ "$workers" != 1 ] || echo "worker_cpu_affinity $worker_mask;"
        echo "${6:-}"
        cat <<CONF
worker_rlimit_nofile $open_files;
pid $dir/nginx.pid;
error_log $dir/error.log error;
events { worker_connections $((open_files - 64)); }
http {
client_body_temp_path $dir/body;
proxy_temp_path $dir/proxy;
fastcgi_temp_path $dir/fastcgi;
uwsgi_temp_path $dir/uwsgi;
scgi_temp_path $dir/scgi;
keepalive_requests 1000000;
keepalive_timeout 3600s;
client_max_body_size 64m;
CONF
        write_http_part "$2" "${4:-}" "${5:-}" "$3" "$dir"
        cat <<CONF
upstream models { server 127.0.0.1:$upstream_port; keepalive 256; keepalive_requests 1000000; }
server {
listen 127.0.0.1:$3 backlog=8192;
access_log $dir/access.log bench;
location / {
CONF
        write_location_part "$2"
        echo 'proxy_pass http://models;'
        echo '}'
        ! uses_module "$2" || echo 'location = /bench_status { llm_api_keys off; llm_status; access_log off; }'
        ! uses_module "$2" || echo 'location = /bench_metrics { llm_api_keys off; llm_metrics; access_log off; }'
        echo '}'
        echo '}'
    } >"$dir/nginx.conf"
}

# port pid seconds log...
wait_for_port() {
    local port=$1 pid=$2 tenths=$(($3 * 10)) i
    shift 3
    for ((i = 0; i < tenths; i++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    [ $# = 0 ] || tail -n 3 "$@" >&2
    die "nothing listens on port $port"
}

# name port [before]: starts it, by the command `before`; the worker's pid is then in worker_of[name]
start_nginx() {
    ${3:-} "$nginx" -p "$tmp/$1" -c "$tmp/$1/nginx.conf" -e "$tmp/$1/error.log" -g 'daemon off;' 2>>"$tmp/$1/start.log" &
    local master=$!
    pids+=("$master")
    master_of[$1]=$master
    port_of[$1]=$2
    wait_for_port "$2" "$master" 300 "$tmp/$1/start.log"
    local child
    worker_of[$1]=
    while [ -z "${worker_of[$1]}" ]; do
        kill -0 "$master" 2>/dev/null || die "nginx ($1) ended at once"
        for child in $(cat "/proc/$master/task/$master/children"); do
            if { tr '\0' ' ' <"/proc/$child/cmdline"; } 2>/dev/null | grep -q '^nginx: worker process'; then
                worker_of[$1]=$child
            fi
        done
    done
}

# name signal: gently, but not for ever (callgrind now and then hangs at its exit)
stop_nginx() {
    local pid=${master_of[$1]} i
    kill "-$2" "$pid" 2>/dev/null || true
    for ((i = 0; i < 50; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}
