#!/bin/sh
# Tries the gateway out: installs what is missing to build it, builds it, starts it on a port of 127.0.0.1 and streams one
# chat completion through it. See --help.

set -eu

usage() {
    cat <<END
Usage: sh conf-examples/quickstart.sh [option...]

Builds the module, starts an nginx of its own with it on 127.0.0.1, streams one chat completion through it, and
shows the tokens that were counted. Needs Debian 12 or 13, and root (or sudo) if packages are missing.

  --upstream URL   a server that speaks the OpenAI API, such as http://127.0.0.1:8000 (default: a demo, which nginx plays)
  --upstream-key K the key that this server wants, if it wants one (vLLM and llama-server: --api-key)
  --model NAME     the model to ask for (default: the first one that the server lists)
  --port N         where to listen (default: a free port from 18080 on)
  --keep           leave the gateway running; without it, it is stopped at the end. Later runs leave it alone
  --stop           stop the gateway that --keep left running, and remove its files
  --help

Files are in /run/nginx-llm-quickstart for root, else in ~/.cache/nginx-llm-quickstart; without --keep in a directory beside it
that is removed at the end. Debian's own nginx service and
its configuration are not touched. With LLM_MODULE=FILE in the environment that module is used and nothing is built, and with
LLM_QUICKSTART_DIR=DIR files are there.
END
}

die() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

say() {
    printf '\n%s== %s%s\n' "$bold" "$*" "$plain"
}

value_of() {
    [ $# -ge 2 ] && [ -n "$2" ] || die "$1 needs a value"
    printf '%s' "$2"
}

upstream=
upstream_key=
model=
port=
keep=
stop=
while [ $# -gt 0 ]; do
    case $1 in
        --upstream) upstream=$(value_of "$@"); shift ;;
        --upstream-key) upstream_key=$(value_of "$@"); shift ;;
        --model) model=$(value_of "$@"); shift ;;
        --port) port=$(value_of "$@"); shift ;;
        --keep) keep=1 ;;
        --stop) stop=1 ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; die "unknown option $1" ;;
    esac
    shift
done

bold=
plain=
if [ -t 1 ]; then
    bold=$(printf '\033[1m')
    plain=$(printf '\033[0m')
fi

repo=$(cd "$(dirname "$0")/.." && pwd)
examples=$repo/conf-examples
build=$repo/build-quickstart
if [ "$(id -u)" = 0 ]; then
    run=/run/nginx-llm-quickstart
else
    run=${XDG_CACHE_HOME:-$HOME/.cache}/nginx-llm-quickstart
fi
run=${LLM_QUICKSTART_DIR:-$run}
PATH=$PATH:/usr/sbin:/sbin
# A proxy that the environment names is not for this.
no_proxy=127.0.0.1
export PATH no_proxy

# The pid of the gateway if it runs: a pid file may be left from before a restart of the machine.
gateway_pid() {
    pid=$(cat "$run/nginx.pid" 2>/dev/null) || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -F -e "$run/nginx.conf" || return 1
    printf '%s' "$pid"
}

stop_gateway() {
    if pid=$(gateway_pid); then
        kill "$pid"
        while kill -0 "$pid" 2>/dev/null; do
            sleep 0.1
        done
    fi
    rm -rf "$run"
}

if [ -n "$stop" ]; then
    gateway_pid >/dev/null && was=stopped || was="not running"
    stop_gateway
    echo "The gateway is $was; $run is removed."
    exit 0
fi

case $upstream in
    '' | http://*) ;;
    https://*) die "--upstream takes http:// only here; for https:// see conf-examples/llm_proxy.conf" ;;
    *) die "--upstream $upstream: expected a URL such as http://127.0.0.1:8000" ;;
esac
server=${upstream#http://}
server=${server%/}
server=${server%/v1}
case $server in
    */* | *\ * | *\;*) die "--upstream $upstream: expected a host and a port, without a path" ;;
esac
case $upstream_key in
    *[!A-Za-z0-9._~+/=:-]*) die "--upstream-key: expected a key of letters, digits and . _ ~ + / = : -" ;;
esac
[ -z "$upstream_key" ] || [ -n "$upstream" ] || die "--upstream-key needs --upstream"
case $port in
    *[!0-9]*) die "--port $port: expected a number" ;;
esac

# One that --keep left is somebody's: it is not touched.
if [ -n "$keep" ]; then
    if gateway_pid >/dev/null; then
        die "a gateway is running already: $(sed -n 's/^ *listen \(127[^;]*\);.*/http:\/\/\1/p' "$run/nginx.conf" | head -n 1). To stop it: sh $0 --stop"
    fi
fi

# --- what is needed

packages="nginx nginx-dev cmake g++ make pkg-config libjansson-dev libssl-dev libsqlite3-dev libcurl4-openssl-dev libpcre2-dev zlib1g-dev curl"
[ -z "${LLM_MODULE:-}" ] || packages="nginx curl"
missing=
if command -v dpkg-query >/dev/null; then
    for package in $packages; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || status=
        case $status in
            *"ok installed") ;;
            *) missing="$missing $package" ;;
        esac
    done
else
    die "this script is for Debian 12 and 13. README.md says how to build elsewhere"
fi
if [ -n "$missing" ]; then
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "packages are missing and this is not root. Run as root: apt-get install$missing"
        sudo=sudo
    fi
    say "Installing$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
    case " $missing " in
        *" nginx "*) echo "Note: this brought Debian's nginx, whose service listens on port 80. It is not needed here." ;;
    esac
fi

# --- build

if [ -n "${LLM_MODULE:-}" ]; then
    module=$LLM_MODULE
    [ -f "$module" ] || die "LLM_MODULE: there is no file $module"
    module=$(cd "$(dirname "$module")" && pwd)/$(basename "$module")
else
    say "Building the module in $build"
    # CMake refuses a build directory that was copied along with the sources.
    grep -s -q -F -x "CMAKE_HOME_DIRECTORY:INTERNAL=$repo" "$build/CMakeCache.txt" || rm -rf "$build"
    mkdir -p "$build"
    if ! { cmake -S "$repo" -B "$build" -DCMAKE_BUILD_TYPE=Release \
           && cmake --build "$build" --target ngx_http_llm_module --parallel "$(nproc)"; } >"$build/quickstart.log" 2>&1; then
        tail -n 30 "$build/quickstart.log" >&2
        die "the build failed; all that it said is in $build/quickstart.log"
    fi
    module=$build/ngx_http_llm_module.so
    echo "$module ($(($(wc -c <"$module") / 1024)) KB)"
fi

# --- start

if [ -n "$keep" ]; then
    rm -rf "$run"
else
    mkdir -p "$(dirname "$run")"
    run=$(mktemp -d "$run-XXXXXX")
fi
if [ -z "$port" ]; then
    port=18080
    # 7: connection refused, so that nobody listens there.
    while code=0; curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$port/" || code=$?; [ "$code" != 7 ]; do
        port=$((port + 1))
    done
fi
url=http://127.0.0.1:$port

# Workers run as another user if this is root: they need to pass through, but not to read the key file.
umask 077
mkdir -p "$run"
chmod 711 "$run"
mkdir "$run/modules" "$run/logs" "$run/tmp"
ln -s "$module" "$run/modules/ngx_http_llm_module.so"
cp "$examples/llm_proxy.conf" "$run/"

key=sk-demo-$(od -An -N 20 -tx1 /dev/urandom | tr -d ' \n')
digest=$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)
printf '{ "keys": [ { "name": "quickstart", "user": "me", "sha256": "%s" } ] }\n' "$digest" >"$run/keys.json"

if [ -z "$server" ]; then
    umask 022
    cp -r "$examples/demo" "$run/"
    sed -i "s|/etc/nginx/llm/|$run/|" "$run/demo/upstream.conf"
    umask 077
    server=unix:$run/demo.sock
    demo="include $run/demo/upstream.conf;"
else
    demo=
fi

send_key=
[ -z "$upstream_key" ] || send_key=" proxy_set_header Authorization \"Bearer $upstream_key\";"

# The example configuration, with the paths and sizes of a trial.
sed -e "s|/etc/nginx/llm/|$run/|" \
    -e "s|/var/log/nginx/|$run/logs/|" \
    -e "s|/run/nginx.pid|$run/nginx.pid|" \
    -e "s|listen 8080;|listen 127.0.0.1:$port;|" \
    -e "s|server 127.0.0.1:8000;|server $server;|" \
    -e "s|^\( *\)proxy_pass http://model_servers/v1/.*|&$send_key|" \
    -e "s|llm_zone llm:32m[^;]*;|llm_zone llm:2m;|" \
    -e 's|worker_processes auto;|worker_processes 2;|' \
    -e 's|worker_connections 16384;|worker_connections 512;|' \
    -e '/^worker_rlimit_nofile/d' \
    -e "/^http {/a \\
    client_body_temp_path $run/tmp/body;\\
    proxy_temp_path $run/tmp/proxy;\\
    fastcgi_temp_path $run/tmp/fastcgi;\\
    uwsgi_temp_path $run/tmp/uwsgi;\\
    scgi_temp_path $run/tmp/scgi;\\
    $demo" \
    "$examples/nginx.conf" >"$run/nginx.conf"
if [ "$(id -u)" = 0 ]; then
    chmod 711 "$run/tmp"
else
    sed -i '/^user /d' "$run/nginx.conf"
fi

# Runs at the end, however it comes.
finish() {
    code=$?
    if [ "$code" != 0 ]; then
        tail -n 5 "$run/logs/error.log" >&2
        keep=
    fi
    [ -n "$keep" ] || stop_gateway
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

"$(command -v nginx)" -p "$run" -e "$run/logs/error.log" -c "$run/nginx.conf" 2>/dev/null || die "nginx did not start. It says:"
say "The gateway listens on $url, in front of ${upstream:-a demo upstream}"

# --- try

# Shows the text of a stream of chat completion chunks as it comes.
show_text() {
    sed -u -n -E 's/^data: .*"(content|reasoning|reasoning_content)":"(([^"\\]|\\.)*)".*/\2/; t text
        s/^(data: )?(\{.*"error".*)/\2/p
        d
        :text
        s/\\(["\/])/\1/g
        p' |
        while IFS= read -r piece || [ -n "$piece" ]; do
            printf '%b' "$piece"
        done
    echo
}

no_key=$(curl -s -o /dev/null -w '%{http_code}' "$url/v1/models")
echo "A request without a key gets HTTP $no_key."
# What the upstream answered, to be read by a person.
show_answer() {
    [ ! -s "$run/answer" ] || { head -c 2000 "$run/answer" | tr -d '\000-\010\013-\037\177'; echo; } >&2
    case $1 in
        401 | 403) [ -n "$upstream_key" ] && echo "Does it want another --upstream-key?" >&2 || echo "If it wants a key: --upstream-key" >&2 ;;
        502 | 504) echo "Nobody answers at ${upstream:-the demo}." >&2 ;;
    esac
}

# The value of the first "$1" behind "$2" in JSON, as it is written there. In llama.cpp's list of models, arrays of another kind
# stand before "data".
first_value() {
    tr '\n' ' ' <"$run/answer" | grep -o "\"$2\"[[:space:]]*:[[:space:]]*\\[.*" | grep -o -E "\"$1\"[[:space:]]*:[[:space:]]*\"([^\"\\\\]|\\\\.)*\"" |
        head -n 1 | sed -E 's/^"[^"]*"[[:space:]]*:[[:space:]]*"(.*)"$/\1/'
}

if [ -z "$model" ]; then
    code=$(curl -s -o "$run/answer" -w '%{http_code}' -H "Authorization: Bearer $key" "$url/v1/models") || true
    if [ "$code" != 200 ]; then
        show_answer "$code"
        die "the upstream answered GET /v1/models with HTTP $code (with --model it is not asked). nginx says:"
    fi
    model=$(first_value id data) || model=
    [ -n "$model" ] || model=$(first_value model models) || model=
    [ -n "$model" ] || model=$(first_value name models) || model=
    if [ -z "$model" ]; then
        show_answer "$code"
        die "GET /v1/models names no model. Use --model"
    fi
fi

body='{"model":"'$model'","stream":true,"messages":[{"role":"user","content":"Say hello in a few sentences."}]}'
say "A chat completion, streamed from $model"
curl -sN -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "$body" "$url/v1/chat/completions" | tee "$run/answer" | show_text

# nginx logs a request when it is over, which may be a moment after the client has its last byte.
tries=0
until line=$(grep -F '"uri":"/v1/chat/completions"' "$run/logs/llm.log" | tail -n 1) && [ -n "$line" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || die "no line about the request in the access log"
    sleep 0.1
done
field() {
    printf '%s' "$line" | sed -n -E 's/.*"'"$1"'":"([^"]*)".*/\1/p'
}

say "Its line in the access log"
printf '%s\n' "$line"
if [ "$(field status)" != 200 ]; then
    show_answer "$(field status)"
    die "the upstream answered POST /v1/chat/completions with HTTP $(field status)"
fi
[ -n "$(field total_tokens)" ] || die "the upstream told no token counts"
printf '\n%s%s prompt + %s completion = %s tokens%s for key "%s", the first after %s s, %s s in all\n' "$bold" \
    "$(field prompt_tokens)" "$(field completion_tokens)" "$(field total_tokens)" "$plain" "$(field key)" \
    "$(field time_to_first_token)" "$(field duration)"

# --- what next

if [ -n "$keep" ]; then
    say "It runs on. To go on:"
    cat <<END
curl -N $url/v1/chat/completions -H 'Authorization: Bearer $key' -H 'Content-Type: application/json' -d '$body'
curl $url/llm/status

OpenAI SDKs:  OPENAI_BASE_URL=$url/v1  OPENAI_API_KEY=$key
Files:        $run (nginx.conf, keys.json, logs/)
Stop it:      sh $0 --stop
END
else
    say "The gateway is stopped again. To go on:"
    cat <<END
Leave it running:  sh $0 --keep
Use your server:   sh $0 --upstream http://127.0.0.1:8000
What it ran:       $examples/nginx.conf
END
fi
