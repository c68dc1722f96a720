# summary.csv -> a Markdown table of the scenarios of `peers`: a column for each contender, a row for each figure, medians and the
# middle half of the values.
BEGIN {
    FS = ","
    n = 0
    column("peers-json", "/", "JSON, CPU µs a request", 1)
    column("peers-json", "/", "of plain", 2)
    column("peers-saturation", "/", "requests/s", 0)
    column("peers-line", "/", "stream of 1,000 chunks at line rate, CPU µs", 0)
    column("peers-line", "/", "of plain", 2)
    column("peers-paced", "/", "paced streams, CPU µs a chunk", 2)
    column("peers-paced", "/", "of plain", 2)
    column("peers-prompt", "/", "1 MB prompt, CPU µs", 0)
    column("peers-401", "/", "refused 401, CPU µs", 1)
    column("peers-429", "/", "refused 429, CPU µs", 1)
    column("peers-keys-10", "/", "10 keys, CPU µs", 1)
    column("peers-keys-1000", "/", "1,000 keys", 1)
    column("peers-keys-100000", "/", "100,000 keys", 1)
    column("peers-keys-1000000", "/", "1,000,000 keys", 1)
    column("peers-latency", "requests a second", "rate of the next, requests/s", 0)
    column("peers-latency", "added p50", "added p50 µs", 0)
    column("peers-latency", "added p99", "added p99 µs", 0)
    column("peers-latency", "added p99.9", "added p99.9 µs", 0)
    column("peers-latency-cpu", "/", "CPU µs a request at that rate", 1)
    column("peers-memory", "memory per stream", "bytes a stream", 0)
    split("plain map-limits haproxy llm-all lua lua-find fastapi portkey", order, " ")
}

function column(scenario, what, title, digits) {
    n++
    from[n] = scenario
    kind[n] = what
    name[n] = title
    format[n] = "%." digits "f"
    # Of a pair of columns the second is the ratio.
    is_ratio[n] = title == "of plain"
}

NR == 1 { next }

# The first row of a contender is that beside plain (of refusals: map-limits).
{
    what = $3 ~ /^\/ / ? "/" : $3
    if (!(($1, $2, what) in value)) {
        value[$1, $2, what] = $4
        ratio[$1, $2, what] = $6
        spread[$1, $2, what] = $10
        ratios[$1, $2, what] = $9
    }
}

function range(text, form,    p) {
    return split(text, p, "-") == 2 ? " <small>(" sprintf(form, p[1]) "–" sprintf(form, p[2]) ")</small>" : ""
}

function cell(i, who,    key) {
    key = from[i] SUBSEP who SUBSEP kind[i]
    if (!(key in value) || (is_ratio[i] && ratio[key] == "")) {
        return "–"
    }
    return is_ratio[i] ? sprintf(format[i], ratio[key]) range(ratios[key], format[i]) : sprintf(format[i], value[key]) range(spread[key], format[i])
}

END {
    for (w = 1; w in order; w++) {
        for (i = 1; i <= n; i++) {
            present[w] += cell(i, order[w]) != "–"
        }
        contenders += present[w] > 0
    }
    if (!contenders) {
        exit
    }
    line = "| figure |"
    rule = "|---|"
    for (w = 1; w in order; w++) {
        if (present[w]) {
            line = line " " order[w] " |"
            rule = rule "--:|"
        }
    }
    print line
    print rule
    for (i = 1; i <= n; i++) {
        line = "| " name[i] " |"
        used = 0
        for (w = 1; w in order; w++) {
            if (present[w]) {
                c = cell(i, order[w])
                used += c != "–"
                line = line " " c " |"
            }
        }
        if (used) {
            print line
        }
    }
}
