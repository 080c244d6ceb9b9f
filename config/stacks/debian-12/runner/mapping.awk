# Reads the flat YAML mappings of Procfile and .release, which need no YAML library.
#
# Prints one line per entry: SECTION <tab> KEY <tab> VALUE. A top-level entry has an empty section. Values are
# decoded; a newline inside one is printed as \001. Understands plain, 'single' and "double" quoted scalars, comments,
# and the block scalars | and >. Anything else ends with status 1 and a message that names the line.

function fail(text) {
    printf "line %d: %s\n", NR, text > "/dev/stderr"
    failed = 1
    exit 1
}

function trim(s) {
    gsub(/^[ \t]+|[ \t\r]+$/, "", s)
    return s
}

# Decode one scalar; what follows a closing quote must be a comment.
function scalar(s,    out, c, i, rest) {
    if (s ~ /^'/) {
        for (i = 2; i <= length(s); i++) {
            c = substr(s, i, 1)
            if (c != "'") { out = out c; continue }
            if (substr(s, i + 1, 1) == "'") { out = out c; i++; continue }
            break
        }
    } else if (s ~ /^"/) {
        for (i = 2; i <= length(s); i++) {
            c = substr(s, i, 1)
            if (c == "\"") break
            if (c != "\\") { out = out c; continue }
            c = substr(s, ++i, 1)
            if (c == "n") c = "\001"
            else if (c == "t") c = "\t"
            out = out c
        }
    } else {
        sub(/^#.*/, "", s)
        sub(/[ \t]#.*/, "", s)
        return trim(s)
    }
    rest = trim(substr(s, i + 1))
    if (i > length(s) || (rest != "" && rest !~ /^#/)) fail("this quote is not closed, or text follows it")
    return out
}

function flush_entry() {
    if (!open_entry) return
    if (style == "|") sub(/\001+$/, "", value)
    printf "%s\t%s\t%s\n", section, key, trim(value)
    open_entry = 0
}

function entry(text,    colon, first) {
    first = substr(text, 1, 1)
    if (first == "\"" || first == "'") {
        colon = index(substr(text, 2), first ":") + 2
        if (colon == 2) fail("not of the form NAME: VALUE")
        key = substr(text, 2, colon - 3)
    } else {
        if (!match(text, /:([ \t]|$)/)) fail("not of the form NAME: VALUE")
        colon = RSTART
        key = trim(substr(text, 1, colon - 1))
    }
    value = trim(substr(text, colon + 1))
    style = ""
    if (value ~ /^[|>][-+]?([ \t]*#.*)?$/) {
        style = substr(value, 1, 1)
        value = ""
        open_entry = 1
        return
    }
    value = scalar(value)
    open_entry = 1
}

{ sub(/\r$/, "") }

# The lines of a block scalar: all that are indented deeper than its key.
open_entry && style != "" {
    match($0, /^ */)
    if (trim($0) == "") { value = value (style == "|" && value != "" ? "\001" : ""); next }
    if (RLENGTH > indent) {
        value = value (value == "" ? "" : (style == "|" ? "\001" : " ")) trim($0)
        next
    }
}

{ flush_entry() }
/^[ \t]*(#|$)/ || /^(---|\.\.\.)/ { next }
/^\t/ { fail("indented with a tab") }
/^-( |$)/ && section == "" { fail("not of the form NAME: VALUE") }
/^ *-( |$)/ { next } # items of a list, such as those of `addons`

/^[^ ]/ {
    if ($0 ~ /^[{\[]/) {
        if (trim($0) == "{}") next
        fail("not of the form NAME: VALUE")
    }
    section = ""
    indent = 0
    entry($0)
    if (style == "" && (value == "" || value == "{}" || value == "[]")) {
        open_entry = 0
        section = key
    }
    next
}

{
    match($0, /^ */)
    indent = RLENGTH
    if (section == "") fail("unexpected indentation")
    entry(trim($0))
}

END {
    if (failed) exit 1
    flush_entry()
}
