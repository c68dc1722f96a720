#!/bin/sh
# In a Debian where conf-examples/install.sh has installed the packages: what the Dockerfile does besides, and what its container runs. Run by
# t/package.sh.

set -u
. "$(dirname "$0")/check.sh"
tree=/out/tree
file=$tree/conf-examples/container/Dockerfile
ip link set lo up

check "the Dockerfile runs nothing but the install script" same "$(sed -n '/^ *sh /p; s/^RUN \(sh .*\)/\1/p' "$file" | sed 's/^ *//')" \
    'sh /src/conf-examples/install.sh --build /packages
sh /install.sh --from /packages && rm -rf /var/lib/apt/lists/*'
copied=$(sed -n 's/^COPY \(conf-examples.*\)/\1/p' "$file")
check "and copies one file" same "$copied" 'conf-examples/container/nginx.conf /etc/nginx/'
cp $tree/conf-examples/container/nginx.conf /etc/nginx/

llmctl key add alice >/tmp/key 2>/dev/null
check "a key" grep -q '^sk-' /tmp/key
# There is no other container.
printf '127.0.0.1 localhost vllm\n' >/etc/hosts

user=$(sed -n 's/^USER \([0-9]*\):.*/\1/p' "$file")
check "it is not for root" test "${user:-0}" != 0
install -o "$user" /dev/null /tmp/out
install -o "$user" /dev/null /tmp/err
setpriv --reuid "$user" --regid "$user" --clear-groups nginx -e /dev/stderr -g 'daemon off;' >/tmp/out 2>/tmp/err &
nginx=$!
answers() { curl -s -f -o /dev/null "$1"; }
check "it answers" wait_for answers http://127.0.0.1:8080/health
check "Prometheus has its figures" wait_for answers http://127.0.0.1:9145/metrics
code() { curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $1" http://127.0.0.1:8080/v1/models; }
check "without a key nobody is let in" same "$(code sk-wrong)" 401
check "with one the model server is asked, which is not there" same "$(code "$(cat /tmp/key)")" 502
logged() { grep -q '"key":"alice"' /tmp/out; }
check "and that is in the log" wait_for logged
state() { [ -s /var/lib/nginx/llm/state.db ]; }
check "it keeps its state" wait_for state
check "as the user that it is" same "$(stat -c %u /var/lib/nginx/llm/state.db)" "$user"
kill -QUIT "$nginx"
wait "$nginx"
check "it ends by SIGQUIT" same "$?" 0
