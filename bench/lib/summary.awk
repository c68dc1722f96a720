# Rounds and values -> scenario,contender,what,value,unit,ratio,target,verdict,spread
# The ratio is the median over the rounds (or blocks of them) of contender / plain in the same round; spread is the middle half of them.
BEGIN {
    FS = OFS = ","
    # contender / beside: at most
    target["json", "llm", "plain"] = 1.10
    target["limits", "llm-limits", "plain"] = 1.10
    target["limits", "llm-limits", "map-limits"] = 1.0
    target["json", "llm-rules", "llm"] = 1.03
    target["upload", "llm", "plain"] = target["upload", "llm-rules", "plain"] = 1.15
    target["paced", "llm", "plain"] = target["paced", "llm-final", "plain"] = 1.05
    target["paced", "llm-limits", "plain"] = 1.05
    target["paced", "llm-continuous", "plain"] = 1.10
    target["line", "llm", "plain"] = target["line", "llm-final", "plain"] = target["line-null", "llm-final", "plain"] = 1.25
    target["line", "llm-continuous", "plain"] = 2.0
    target["line", "llm", "plain4k"] = target["line", "llm-final", "plain4k"] = 1.0
    # The module with everything on beside its peers. Of Lua's streams: 15 times cheaper, in what is added to plain (see END).
    target["peers-json", "llm-all", "plain"] = 1.15
    target["peers-json", "llm-all", "map-limits"] = 1.0
    target["peers-json", "llm-all", "lua"] = 0.5
    target["peers-json", "llm-all", "haproxy"] = 1.0
    target["peers-paced", "llm-all", "plain"] = 1.05
    target["peers-line", "llm-all", "plain"] = 1.25
    target["peers-latency-p99", "llm-all", "plain"] = 1.1
    most_added["peers-line", "llm-all", "lua"] = 0.067
    unit["peers-json"] = unit["peers-prompt"] = unit["peers-401"] = unit["peers-429"] = unit["peers-latency-cpu"] = "us per request"
    unit["peers-keys-10"] = unit["peers-keys-1000"] = unit["peers-keys-100000"] = unit["peers-keys-1000000"] = "us per request"
    unit["peers-line"] = "us per stream"
    unit["peers-paced"] = "us per chunk"
    unit["peers-saturation"] = "requests per s"
    unit["peers-latency-p50"] = unit["peers-latency-p99"] = unit["peers-latency-p99.9"] = "us"
    # Speed instead of CPU: units of work by the time that passed.
    is_speed["peers-saturation"] = 1
    unit["json"] = unit["limits"] = unit["upload"] = "us per request"
    unit["paced"] = "us per chunk"
    unit["line"] = unit["line-null"] = unit["line-close"] = "us per stream"
    # So many rounds are summed up before they are compared. Of turns two, there and back: who comes second in a row finds
    # its caches warm. Of slots more: on a busy machine, chunks run over into the next one.
    block["json"] = block["limits"] = block["upload"] = block["line"] = block["line-null"] = block["line-close"] = 2
    block["paced"] = block["peers-paced"] = 8
    block["peers-json"] = block["peers-saturation"] = block["peers-line"] = block["peers-prompt"] = block["peers-401"] = block["peers-429"] = 2
    block["peers-keys-10"] = block["peers-keys-1000"] = block["peers-keys-100000"] = block["peers-keys-1000000"] = 2
    print "scenario,contender,what,value,unit,ratio,target,verdict,spread,values"
}

FILENAME ~ /values/ {
    values[++n_values] = $0
    next
}

{
    if (!(($1, $2) in last)) {
        order[++n_order] = $1 SUBSEP $2
    }
    b = $1 in block ? int($3 / block[$1]) : $3
    last[$1, $2] = b
    cpu[$1, $2, b] += $4 / 1000
    units[$1, $2, b] += $5
    passed[$1, $2, b] += $6
}

function sort(list, n,    i, j, x) {
    for (i = 2; i <= n; i++) {
        x = list[i]
        for (j = i - 1; j > 0 && list[j] > x; j--) {
            list[j + 1] = list[j]
        }
        list[j + 1] = x
    }
}

function quantile(list, n, q,    at, low) {
    at = 1 + (n - 1) * q
    low = int(at)
    return low >= n ? list[n] : list[low] + (at - low) * (list[low + 1] - list[low])
}

function cost(scenario, contender, i) {
    if (scenario in is_speed) {
        return units[scenario, contender, i] * 1000000 / passed[scenario, contender, i]
    }
    return cpu[scenario, contender, i] / units[scenario, contender, i]
}

function known(scenario, contender, i) {
    return (scenario, contender, i) in cpu && cpu[scenario, contender, i] > 0 && units[scenario, contender, i] > 0
}

# Fills `list` with this contender's cost, or its ratio to `beside` where that is given.
function collect(list, scenario, contender, beside,    i, n) {
    n = 0
    for (i = 0; i <= last[scenario, contender]; i++) {
        if (known(scenario, contender, i) && (beside == "" || known(scenario, beside, i))) {
            list[++n] = cost(scenario, contender, i) / (beside == "" ? 1 : cost(scenario, beside, i))
        }
    }
    sort(list, n)
    return n
}

function row(scenario, contender, beside,    list, n, value, r, t, spread, values) {
    n = collect(list, scenario, contender, "")
    value = sprintf("%.2f", quantile(list, n, 0.5))
    values = sprintf("%.2f-%.2f", quantile(list, n, 0.25), quantile(list, n, 0.75))
    n = collect(list, scenario, contender, beside)
    if (n == 0) {
        return
    }
    r = sprintf("%.3f", quantile(list, n, 0.5))
    spread = sprintf("%.3f-%.3f", quantile(list, n, 0.25), quantile(list, n, 0.75))
    t = target[scenario, contender, beside]
    print scenario, contender, "/ " beside, value, unit[scenario], r, t, (t == "" ? "-" : r + 0 <= t ? "ok" : "MISSED"), spread, values
}

# What a contender adds to plain, as a part of what another one adds, in the same rounds.
function row_of_added(scenario, contender, beside,    list, n, i, value, r, t, other) {
    for (i = 0; i <= last[scenario, contender]; i++) {
        if (known(scenario, contender, i) && known(scenario, beside, i) && known(scenario, "plain", i)) {
            other = cost(scenario, beside, i) - cost(scenario, "plain", i)
            if (other > 0) {
                list[++n] = (cost(scenario, contender, i) - cost(scenario, "plain", i)) / other
            }
        }
    }
    if (n == 0) {
        return
    }
    sort(list, n)
    r = sprintf("%.3f", quantile(list, n, 0.5))
    t = most_added[scenario, contender, beside]
    print scenario, contender, "added / added by " beside, "", "", r, t, (t == "" ? "-" : r + 0 <= t ? "ok" : "MISSED"), sprintf("%.3f-%.3f", quantile(list, n, 0.25), quantile(list, n, 0.75)), ""
}

# A row for each contender that has taken part.
function rows_beside_all(scenario, contender, first,    i, q) {
    for (i = 1; i <= n_order; i++) {
        split(order[i], q, SUBSEP)
        if (q[1] == scenario && q[2] != contender && q[2] != first) {
            row(scenario, contender, q[2])
        }
    }
    if ((scenario, contender, "lua") in most_added) {
        row_of_added(scenario, contender, "lua")
    }
}

END {
    for (i = 1; i <= n_order; i++) {
        split(order[i], p, SUBSEP)
        # Refusals have no plain.
        first = (p[1], "plain") in last ? "plain" : "map-limits"
        row(p[1], p[2], first)
        if (p[2] == "llm-all") {
            rows_beside_all(p[1], p[2], first)
        }
        if ((p[1], p[2] "-before") in last) {
            row(p[1], p[2], p[2] "-before")
        }
        if ((p[2] == "llm" || p[2] == "llm-final") && (p[1], "plain4k") in last) {
            row(p[1], p[2], "plain4k")
        }
        if (p[2] == "llm-rules" && (p[1], "llm") in last) {
            row(p[1], p[2], "llm")
        }
        if (p[2] == "llm-limits") {
            row(p[1], p[2], "map")
            if ((p[1], "map-limits") in last) {
                row(p[1], p[2], "map-limits")
            }
        }
    }
    for (i = 1; i <= n_values; i++) {
        print values[i] ",,"
    }
}
