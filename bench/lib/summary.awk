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
    unit["json"] = unit["limits"] = unit["upload"] = "us per request"
    unit["paced"] = "us per chunk"
    unit["line"] = unit["line-null"] = unit["line-close"] = "us per stream"
    # So many rounds are summed up before they are compared. Of turns two, there and back: who comes second in a row finds
    # its caches warm. Of slots more: on a busy machine, chunks run over into the next one.
    block["json"] = block["limits"] = block["upload"] = block["line"] = block["line-null"] = block["line-close"] = 2
    block["paced"] = 8
    print "scenario,contender,what,value,unit,ratio,target,verdict,spread"
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

function row(scenario, contender, beside,    list, n, value, r, t, spread) {
    n = collect(list, scenario, contender, "")
    value = sprintf("%.2f", quantile(list, n, 0.5))
    n = collect(list, scenario, contender, beside)
    r = sprintf("%.3f", quantile(list, n, 0.5))
    spread = sprintf("%.3f-%.3f", quantile(list, n, 0.25), quantile(list, n, 0.75))
    t = target[scenario, contender, beside]
    print scenario, contender, "/ " beside, value, unit[scenario], r, t, (t == "" ? "-" : r + 0 <= t ? "ok" : "MISSED"), spread
}

END {
    for (i = 1; i <= n_order; i++) {
        split(order[i], p, SUBSEP)
        row(p[1], p[2], "plain")
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
        print values[i] ","
    }
}
