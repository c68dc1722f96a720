# name,round,what,ns,units of `bench_load rate` -> values: what each contender adds to the time of the upstream alone, in the same
# round, and that as a multiple of what plain adds.
BEGIN { FS = OFS = "," }

$3 ~ /^p/ {
    time[$1, $2, $3] = $4 / 1000
    rounds = $2 > rounds ? $2 : rounds
    if (!($1 in seen)) {
        seen[$1] = 1
        name[++names] = $1
    }
}

function median(who, what,    i, j, n, x, list) {
    n = 0
    for (i = 0; i <= rounds; i++) {
        if ((who, i, what) in time) {
            x = time[who, i, what] - time["direct", i, what]
            for (j = ++n; j > 1 && list[j - 1] > x; j--) {
                list[j] = list[j - 1]
            }
            list[j] = x
        }
    }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}

END {
    split("p50 p99 p99.9", whats, " ")
    for (w = 1; w <= 3; w++) {
        plain = median("plain", whats[w])
        for (i = 1; i <= names; i++) {
            if (name[i] != "direct") {
                x = median(name[i], whats[w])
                print "peers-latency", name[i], "added " whats[w], sprintf("%.0f", x), "us", (plain > 0 ? sprintf("%.3f", x / plain) : ""), "", "-"
            }
        }
    }
}
