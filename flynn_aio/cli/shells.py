"""The scripts by which shells ask `flynn complete` what may come next.

Bash cuts words at ``=`` and ``:`` and wants only what is behind the last of them; its script puts them together again.
The other two hand over words as they are typed.
"""

SCRIPTS = {
    "bash": """\
_flynn() {
    local line word last= cut=
    local -a typed=()
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ -n $last && -n $word && ${last: -1}$word == *[=:]* && $COMP_LINE == *"$last$word"* ]]; then
            last+=$word
            typed[${#typed[@]}-1]=$last
        else
            last=$word
            typed+=("$last")
        fi
    done
    if [[ $last != "${COMP_WORDS[COMP_CWORD]}" ]]; then
        cut=${last%"${last##*[=:]}"}
    fi
    while IFS= read -r line; do
        COMPREPLY+=("${line#"$cut"}")
    done < <(flynn complete -- "${typed[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}
complete -o default -F _flynn flynn
""",
    "zsh": """\
#compdef flynn
_flynn() {
    local -a found
    found=("${(@f)$(flynn complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then
        compadd -S '' -- ${(M)found:#*=}
        compadd -- ${found:#*=}
    else
        _files
    fi
}
compdef _flynn flynn
""",
    "fish": """\
function __flynn_complete
    set -l words (commandline -opc) (commandline -ct)
    flynn complete -- $words[2..-1] 2>/dev/null
end
complete -c flynn -a '(__flynn_complete)'
""",
}
