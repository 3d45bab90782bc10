# shellcheck shell=bash
# Things that are made once and kept, for the scripts beside this directory. Sourced by bash.
#
# Everything lies in one directory as NAME-KEY, where KEY is a hash of what the thing is made from,
# so that a change of the recipe makes a new one. A thing is built under a temporary name and renamed
# when it is complete: whoever finds NAME-KEY finds it whole. One lock per NAME lets two runs meet;
# a build that was killed leaves only its temporary name, which the next build removes.

cache_dir=${VGPUD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vgpud}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }

# One line on the caller's terminal from inside a build, whose own output goes to the log.
step() { printf '%s: %s\n' "${0##*/}" "$*" >&3; printf '\n=== %s\n' "$*"; }

# cache_key FILE-OR-WORD…: a short hash of the content of files and of plain words.
cache_key() {
    local item
    for item; do
        if [ -f "$item" ]; then cat -- "$item"; else printf '%s\n' "$item"; fi
    done | sha256sum | cut -c1-12
}

# cache_make NAME KEY FUNCTION: sets cache_result to the directory NAME-KEY. If it is not there yet,
# FUNCTION fills the empty directory that it is given, under "set -e". Not to be called within a
# condition, which would switch "set -e" off.
cache_make() {
    local name=$1 key=$2 build=$3 tmp lock rc
    cache_result=$cache_dir/$name-$key
    if [ -d "$cache_result" ]; then
        touch -c -- "$cache_result"
        return
    fi

    mkdir -p -- "$cache_dir"
    exec {lock}>>"$cache_dir/$name.lock"
    flock -n "$lock" || { say "waiting for another run that makes $name"; flock "$lock"; }
    if [ ! -d "$cache_result" ]; then
        # What no checkout has used for a month goes.
        find "$cache_dir" -maxdepth 1 -name "$name-*" -type d -mtime +30 -exec rm -rf {} +
        tmp=$cache_dir/.$name.tmp
        rm -rf -- "$tmp"
        mkdir -- "$tmp"
        set +e
        (
            exec 3>&2 >"$cache_dir/$name.log" 2>&1 </dev/null
            set -eu -o pipefail
            "$build" "$tmp"
        )
        rc=$?
        set -e
        if [ $rc -ne 0 ]; then
            tail -n 25 -- "$cache_dir/$name.log" >&2
            die "making $name failed, the whole log is $cache_dir/$name.log"
        fi
        mv -T -- "$tmp" "$cache_result"
    fi
    exec {lock}>&-
}
