# summary.csv -> SVG of the scenarios of `peers`: a panel for each figure, a bar for each contender, on a logarithmic scale, since the
# slowest takes some hundred times what the fastest does; the black line is the middle half. The last panel: CPU by the number of keys.
BEGIN {
    FS = ","
    split("plain map-limits haproxy llm-all lua lua-find fastapi portkey", order, " ")
    split("#9aa5b1 #f0b429 #3182ce #2f855a #805ad5 #b794f4 #dd6b20 #e53e3e", colours, " ")
    panel("peers-json", "/", "small JSON exchange, CPU µs a request")
    panel("peers-saturation", "/", "the same at saturation, requests a second (more is better)")
    panel("peers-line", "/", "stream of 1,000 chunks at line rate, CPU µs")
    panel("peers-paced", "/", "paced streams, CPU µs a chunk")
    panel("peers-prompt", "/", "prompt of 1 MB, CPU µs a request")
    panel("peers-401", "/", "wrong key, 401, CPU µs a request")
    panel("peers-429", "/", "key at its limit, 429, CPU µs a request")
    panel("peers-latency", "added p50", "added time at half load, median, µs")
    panel("peers-latency", "added p99", "added time at half load, 99th percentile, µs")
    panel("peers-latency", "added p99.9", "added time at half load, 99.9th percentile, µs")
    panel("peers-memory", "memory per stream", "memory a stream, bytes")
}

function panel(scenario, what, text) {
    from[++n] = scenario
    kind[n] = what
    title[n] = text
}

NR == 1 { next }

{
    what = $3 ~ /^\/ / ? "/" : $3
    has_keys = has_keys || $1 ~ /^peers-keys/
    if (!(($1, $2, what) in value)) {
        value[$1, $2, what] = $4
        spread[$1, $2, what] = $10
    }
}

function log10(x) {
    return log(x) / log(10)
}

# Where a value is between the decade below the least of its panel and the one above the most.
function across(x) {
    return x <= least ? 0 : width * (log10(x) - log10(least)) / (log10(most) - log10(least))
}

function set_scale(low, high) {
    low /= 2
    least = 10 ^ int(log10(low) - (low < 1 ? 1 : 0))
    most = 10 ^ int(log10(high) + 1)
}

function bar(w, v, range,    p) {
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", left - 8, y + 12, order[w]
    printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"14\" fill=\"%s\"/>", left, y, across(v), colours[w]
    if (split(range, p, "-") == 2) {
        printf "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"black\" stroke-width=\"2\"/>", left + across(p[1]), y + 7, left + across(p[2]), y + 7
    }
    printf "<text x=\"%.1f\" y=\"%d\">%s</text>\n", left + across(v) + 6, y + 12, (v >= 100 ? sprintf("%.0f", v) : sprintf("%.1f", v))
    y += 18
}

function draw_panel(i,    w, key, low, high) {
    low = high = 0
    for (w = 1; w in order; w++) {
        key = from[i] SUBSEP order[w] SUBSEP kind[i]
        if (key in value && value[key] > 0) {
            low = !low || value[key] < low ? value[key] : low
            high = value[key] > high ? value[key] : high
        }
    }
    if (!high) {
        return
    }
    set_scale(low, high)
    y += 30
    printf "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s</text>\n", y - 8, title[i]
    for (w = 1; w in order; w++) {
        key = from[i] SUBSEP order[w] SUBSEP kind[i]
        if (key in value && value[key] != "") {
            bar(w, value[key] + 0, spread[key])
        }
    }
}

function draw_keys(    w, k, counts, x, v, low, high, points, key, top) {
    split("10 1000 100000 1000000", counts, " ")
    low = high = 0
    for (w = 1; w in order; w++) {
        for (k = 1; k <= 4; k++) {
            v = value["peers-keys-" counts[k], order[w], "/"] + 0
            if (v > 0) {
                low = !low || v < low ? v : low
                high = v > high ? v : high
            }
        }
    }
    if (!high) {
        return
    }
    set_scale(low, high)
    y += 36
    printf "<text x=\"10\" y=\"%d\" font-weight=\"bold\">small JSON exchange with so many keys, CPU µs a request</text>\n", y - 8
    top = y
    for (v = least; v <= most; v *= 10) {
        printf "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%s</text>", left - 8, top + 204 - 200 * across(v) / width, v
        printf "<line x1=\"%d\" x2=\"%d\" y1=\"%.0f\" y2=\"%.0f\" stroke=\"#e4e7eb\"/>\n", left, left + width, top + 200 - 200 * across(v) / width, top + 200 - 200 * across(v) / width
    }
    for (w = 1; w in order; w++) {
        points = ""
        for (k = 1; k <= 4; k++) {
            v = value["peers-keys-" counts[k], order[w], "/"] + 0
            if (v > 0) {
                x = left + width * (log10(counts[k]) - 1) / 5
                points = points sprintf("%.1f,%.1f ", x, top + 200 - 200 * across(v) / width)
                last_y = top + 200 - 200 * across(v) / width
            }
        }
        if (points != "") {
            printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>", points, colours[w]
            # Names that would lie on one another go apart.
            while (near(last_y)) {
                last_y -= 12
            }
            taken[++n_taken] = last_y
            printf "<text x=\"%d\" y=\"%.1f\" fill=\"%s\">%s</text>\n", left + width + 6, last_y + 4, colours[w], order[w]
        }
    }
    for (k = 1; k <= 4; k++) {
        printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", left + width * (log10(counts[k]) - 1) / 5, top + 218, counts[k]
    }
    y = top + 226
}

function near(at,    i) {
    for (i = 1; i <= n_taken; i++) {
        if (at - taken[i] < 12 && taken[i] - at < 12) {
            return 1
        }
    }
    return 0
}

# Of the whole picture, as it is drawn below.
function height(    i, w, bars, sum) {
    for (i = 1; i <= n; i++) {
        bars = 0
        for (w = 1; w in order; w++) {
            bars += value[from[i], order[w], kind[i]] != ""
        }
        sum += bars ? 30 + 18 * bars : 0
    }
    return 50 + sum + (has_keys ? 262 : 0)
}

END {
    left = 100
    width = 520
    y = 34
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n", height()
    print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    print "<text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\">The gateway beside its peers (logarithmic scales; less is better)</text>"
    for (i = 1; i <= n; i++) {
        draw_panel(i)
    }
    draw_keys()
    print "</svg>"
}
