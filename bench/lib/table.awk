# summary.csv -> a table to read. Exit status 1 if a target is missed.
BEGIN {
    FS = ","
    printf "%-10s %-14s %-46s %12s %-15s %7s %15s %7s %s\n", "scenario", "of", "what", "value", "unit", "ratio", "middle half", "target", ""
}

NR == 1 { next }

{
    if (last != "" && last != $1) {
        print ""
    }
    last = $1
    printf "%-10s %-14s %-46s %12s %-15s %7s %15s %7s %s\n", $1, $2, $3, $4, $5, $6, $9, ($7 == "" ? "" : $7 ~ /=/ ? $7 : "<= " $7), ($8 == "-" ? "" : $8)
    missed += $8 == "MISSED"
}

END {
    if (missed) {
        printf "\n%d target(s) missed\n", missed
        exit 1
    }
}
