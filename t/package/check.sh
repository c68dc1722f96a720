# Lines for t/package.sh. Sourced by its steps.

# check WHAT COMMAND...
check() {
    what=$1
    shift
    if said=$("$@" 2>&1); then
        echo "ok - $what"
    else
        echo "not ok - $what"
        printf '%s\n' "$said" | tail -n 20
    fi
}

# For at most half a minute.
wait_for() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || return 1
        sleep 0.1
    done
}

same() {
    [ "$1" = "$2" ] || { printf 'got: %s\nexpected: %s\n' "$1" "$2"; return 1; }
}
