# instructions.csv and the same counted now (path,contender,instructions) -> what has changed. -v most=PERCENT that a path may grow;
# -v same=1 if both were counted with the same tools. Exit status 1 if they were and a path has grown by more, or is missing.
BEGIN { FS = "," }

/^#/ || $1 == "path" { next }

FNR == NR {
    before[$1] = $3
    next
}

!($1 in before) {
    printf "%-12s %12s %12d             new: --update takes it in\n", $1, "", $3
    next
}

{
    seen[$1] = 1
    change = ($3 / before[$1] - 1) * 100
    printf "%-12s %12d %12d %+9.2f %%  %s\n", $1, before[$1], $3, change, \
        (change > most ? "GREW" : change < -most ? "shrank: --update keeps it so" : change > 0.2 ? "up" : change < -0.2 ? "down" : "same")
    grown += change > most
}

END {
    for (path in before) {
        if (!(path in seen)) {
            printf "%-12s is no longer counted\n", path
            grown++
        }
    }
    if (grown && same == "") {
        print "This is no failure, since it was counted with other tools."
    } else if (grown) {
        printf "%d path(s) take more than %s %% more instructions, or are missing\n", grown, most
        exit 1
    }
}
