#!/bin/sh
# In a Debian with the packages of before: the first steps of an operator, then an upgrade under load, removal and purge. Run by t/package.sh.

set -u
. "$(dirname "$0")/check.sh"
module=libnginx-mod-http-llm
url=http://127.0.0.1:8080

ip link set lo up
# From here on services are started, as on a system. Without a policy and a runlevel invoke-rc.d does nothing in a chroot.
printf '#!/bin/sh\nexit 0\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
[ -e /sbin/runlevel ] || { printf '#!/bin/sh\necho N 2\n' >/sbin/runlevel; chmod 755 /sbin/runlevel; }

answers() { curl -s -f -o /dev/null "$1"; }
refuses() { ! curl -s -o /dev/null "$1"; }
master() { cat /run/nginx.pid; }
requests_of_alice() { llmctl usage --by key --json | tr -d ' \n' | sed -n 's/.*"key":"alice"[^}]*"requests":\([0-9]*\).*/\1/p'; }
tokens_of_alice() { llmctl usage --by key --json | tr -d ' \n' | sed -n 's/.*"key":"alice"[^}]*"completion":\([0-9]*\).*/\1/p'; }
stream() {
    curl -sN -H "Authorization: Bearer $key" -H 'Content-Type: application/json' $url/v1/chat/completions \
        -d '{"model":"demo","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
}

check "the first key, a streamed answer, its line in llmctl usage" sh /out/tree/debian/tests/first-stream
echo "$said" | tail -n 4
key=$(cat /tmp/llm-first-key)
keys=$(sha256sum </etc/nginx/llm/keys.json)
before=$(tokens_of_alice)
requests=$(requests_of_alice)
first=$(master)

stream >/tmp/across &
client=$!
check "a stream runs" wait_for grep -q '"content"' /tmp/across
dpkg -i /out/now/*.deb >/tmp/upgrade 2>&1
check "an upgrade of the packages" same "$?" 0
check "says that nginx has the module of before" grep -q 'still runs the module llm of before' /tmp/upgrade
check "nginx is still the same" same "$(master)" "$first"
check "another nginx takes over" service nginx upgrade
new_master() { [ -s /run/nginx.pid ] && [ "$(master)" != "$first" ]; }
check "with a master of its own" wait_for new_master
check "which has the new module" sh -c '! grep -q "ngx_http_llm_module.so (deleted)" "/proc/$(cat /run/nginx.pid)/maps"'
wait "$client"
check "the stream came to its end" grep -q '^data: \[DONE\]' /tmp/across
# It may wait to be reaped: nobody is there for that.
gone() { [ -z "$(tr '\0' ' ' <"/proc/$first/cmdline" 2>/dev/null)" ]; }
check "then the old nginx goes" wait_for gone
check "keys are as they were" same "$(sha256sum </etc/nginx/llm/keys.json)" "$keys"
counted() { [ "$(requests_of_alice)" = $((requests + $1)) ]; }
check "the stream is in the ledger too" wait_for counted 1
check "with its tokens" sh -c '[ "$1" -gt "$2" ]' sh "$(tokens_of_alice)" "$before"
check "the key opens the new one" wait_for answers "$url/health"
stream >/tmp/after
check "for another stream" grep -q '^data: \[DONE\]' /tmp/after
check "which is counted" wait_for counted 2
check "the same package once more says nothing" sh -c '! dpkg -i /out/now/llmctl_*.deb 2>&1 | grep -q "of before"'
check "a restart" service nginx restart
check "forgives nothing" counted 2

# What the demo has put there is not the package's.
rm -f /etc/nginx/conf.d/llm-demo.conf
service nginx reload
check "removal" dpkg -r $module
check "leaves an nginx that can be started" nginx -t
check "without the gateway" wait_for refuses "$url/health"
check "and with its other sites" wait_for answers http://127.0.0.1/
check "keys stay" same "$(sha256sum </etc/nginx/llm/keys.json)" "$keys"
check "and so does the ledger" counted 2
check "another installation" dpkg -i /out/now/${module}_*.deb
check "brings the site back" wait_for answers "$url/health"
check "with its ledger" counted 2

# One without its removal first.
check "purge" dpkg -P $module llmctl
check "leaves an nginx that can be started" nginx -t
check "and serves its other sites" wait_for answers http://127.0.0.1/
left() { find / -xdev -path /proc -prune -o -path /sys -prune -o -path /out -prune -o -path /tmp -prune -o -path /var/log -prune -o -iname '*llm*' -print; }
check "nothing is left of it" same "$(left)" ""
check "dpkg knows nothing of it" same "$(dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' $module llmctl 2>/dev/null | grep -v ' un ')" ""
check "the log is left" test -s /var/log/nginx/llm.log

mkdir /etc/nginx/llm
echo mine >/etc/nginx/llm/certificate.pem
dpkg -i /out/now/${module}_*.deb >/dev/null 2>&1
echo '{"keys":[]}' >/etc/nginx/llm/keys.json
dpkg -P $module >/dev/null 2>&1
check "a file of somebody else's is left" same "$(ls -A /etc/nginx/llm)" certificate.pem

service nginx stop >/dev/null 2>&1
check "the error log has no alert" sh -c '! grep -E "\[(alert|emerg|crit)\]" /var/log/nginx/error.log'
