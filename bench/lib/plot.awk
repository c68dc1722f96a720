# summary.csv -> SVG: one bar for each contender and scenario, CPU as a multiple of plain proxy_pass.
BEGIN {
    FS = ","
    colour["plain"] = "#9aa5b1"
    colour["plain4k"] = "#cbd2d9"
    colour["map"] = "#f0b429"
    colour["llm"] = "#2f855a"
    colour["llm-rules"] = "#2c7a7b"
    colour["llm-limits"] = "#276749"
    colour["llm-final"] = "#38a169"
    colour["llm-continuous"] = "#68d391"
    title["json"] = "small JSON exchange"
    title["limits"] = "the same with all limits of all scopes"
    title["upload"] = "bodies of 20 MB"
    title["paced"] = "1,000 paced streams, per chunk"
    title["line"] = "stream of 1,000 chunks at line rate"
    title["line-null"] = "the same, asked for usage the others have null"
    title["line-close"] = "the same, unchunked"
}

$3 == "/ plain" && $6 != "" && $1 !~ /^peers/ {
    n++
    group[n] = $1
    name[n] = $2
    ratio[n] = $6
    if ($6 > most) {
        most = $6
    }
}

END {
    row = 20
    left = 110
    width = 520
    if (most < 1) {
        most = 1
    }
    groups = 0
    for (i = 1; i <= n; i++) {
        groups += group[i] != group[i - 1]
    }
    height = 50 + n * row + groups * 34
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n", left + width + 80, height
    print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    print "<text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\">CPU of the nginx worker, plain proxy_pass = 1</text>"
    y = 34
    for (i = 1; i <= n; i++) {
        if (group[i] != group[i - 1]) {
            y += 26
            printf "<text x=\"10\" y=\"%d\" fill=\"#52606d\">%s</text>\n", y - 6, (group[i] in title ? title[group[i]] : group[i])
        }
        bar = width * ratio[i] / most
        printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", left - 8, y + 13, name[i]
        printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>", left, y + 2, bar, row - 5, (name[i] in colour ? colour[name[i]] : "#627d98")
        printf "<text x=\"%.1f\" y=\"%d\">%.2f</text>\n", left + bar + 6, y + 13, ratio[i]
        y += row
        if (group[i] != group[i + 1]) {
            y += 8
        }
    }
    x = left + width / most
    printf "<line x1=\"%.1f\" y1=\"34\" x2=\"%.1f\" y2=\"%d\" stroke=\"#323f4b\" stroke-dasharray=\"3 3\"/>\n", x, x, y
    print "</svg>"
}
