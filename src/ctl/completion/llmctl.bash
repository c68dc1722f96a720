# bash completion for llmctl

_llmctl_names() {
    local i file=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        # "--file=x" is three words.
        [ "${COMP_WORDS[i]}" = --file ] && file=(--file "${COMP_WORDS[i + 1]/#=/${COMP_WORDS[i + 2]-}}")
    done
    llmctl key list --json "${file[@]}" 2> /dev/null | grep -o '"name":"[^"\\ ]*"' | cut -d '"' -f 4
}

_llmctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-} options='--json --help'
    local add='--user --plan --models --networks --expires --quota --requests --burst --concurrency --tokens --token_burst --user_from --admin --disabled --no-secret --key-stdin'
    [ "$command" = key ] && [ "$COMP_CWORD" -gt 2 ] && command="key ${COMP_WORDS[2]}"
    COMPREPLY=()
    if [ "$word" = = ]; then
        word=
    elif [ "$before" = = ]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $before in
    user | plan | expires | models | networks | requests | burst | concurrency | tokens | token_burst | quota | user_from)
        [ "$command" = 'key set' ] && return # the value of a field
        ;;
    admin | enabled)
        if [ "$command" = 'key set' ]; then
            mapfile -t COMPREPLY < <(compgen -W 'yes no' -- "$word")
            return
        fi
        ;;
    --file | --key-file | --state)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --format)
        mapfile -t COMPREPLY < <(compgen -W 'fastapi litellm' -- "$word")
        return
        ;;
    --by)
        mapfile -t COMPREPLY < <(compgen -W 'key user model day' -- "$word")
        return
        ;;
    esac
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'key import usage top block unblock reset stop check size new hash help --help --version' -- "$word")
        return
    fi
    if [ "$command" = key ]; then
        mapfile -t COMPREPLY < <(compgen -W 'add list show set disable enable rotate remove' -- "$word")
        return
    fi
    case $command in
    'key add') options="$add --file $options" ;;
    'key rotate') options="--keep-old --drop-old --drop-new --no-secret --add-secret --key-stdin --file $options" ;;
    'key '*) options="--file $options" ;;
    import) options="--format --dry-run --file $options" ;;
    top) options="--once --url --key-file $options" ;;
    reset) options="--quota --rates --url --key-file $options" ;;
    block | unblock | stop) options="--url --key-file $options" ;;
    size) options="--file --keys --users --user_from --used --models --all-models --requests --addresses $options" ;;
    usage) options="--from --to --by --csv --state $options" ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        return
    fi
    case $command in
    'key show' | 'key disable' | 'key enable' | 'key rotate' | 'key remove' | block | unblock | reset)
        mapfile -t COMPREPLY < <(compgen -W "$(_llmctl_names)" -- "$word")
        ;;
    'key set')
        if [ "$COMP_CWORD" = 3 ]; then
            mapfile -t COMPREPLY < <(compgen -W "$(_llmctl_names)" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -W 'user= plan= expires= models= networks= requests= burst= concurrency= tokens= token_burst= quota= user_from= admin= enabled=' -- "$word")
            compopt -o nospace 2> /dev/null
        fi
        ;;
    check | import)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        ;;
    esac
}

complete -F _llmctl llmctl
