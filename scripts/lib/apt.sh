# shellcheck shell=bash
# Debian packages without installing them, and without root: apt with a state of its own.
# Sourced by bash, needs nothing but the machine's own apt configuration (proxies, mirrors, keys).

# The base of the Debian mirror that this machine is configured to use.
debian_mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F'|' '
            $1 == "Debian" && $2 == "Debian"      { print $3; found = 1; exit }
            $1 == "" && $3 ~ /\/debian\/?$/ && !f { f = $3 }    # lists not fetched yet
            END { if (!found && f) print f; exit !(found || f) }'
}

# apt_private DIR [SUITE…]: from here on in this shell, apt works on the empty system DIR and, where
# suites are named, on those of the machine's Debian mirror alone.
apt_private() {
    local dir=$1 mirror
    shift
    mkdir -p -- "$dir/lists/partial" "$dir/cache/archives/partial"
    : >"$dir/status"
    if [ $# -gt 0 ]; then
        mirror=$(debian_mirror) || {
            echo "apt's configuration on this machine names no Debian mirror"
            return 1
        }
        cat >"$dir/debian.sources" <<EOF
Types: deb
URIs: $mirror
Suites: $*
Components: main
Architectures: amd64
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
    fi
    {
        printf 'Dir::State "%s";\nDir::State::status "%s/status";\nDir::Cache "%s/cache";\n' \
            "$dir" "$dir" "$dir"
        printf 'APT::Install-Recommends "false";\nAPT::Sandbox::User "%s";\n' "$(id -un)"
        printf 'Acquire::Retries "3";\nAcquire::Languages "none";\nDebug::NoLocking "true";\n'
        # The machine's hooks (clearing caches, other indices) are about its own packages.
        printf '#clear DPkg::Post-Invoke;\n#clear APT::Update::Post-Invoke;\n'
        printf '#clear APT::Update::Post-Invoke-Success;\n#clear Acquire::IndexTargets::deb::DEP-11;\n'
        if [ $# -gt 0 ]; then
            printf 'Dir::Etc::sourcelist "%s/debian.sources";\nDir::Etc::sourceparts "/dev/null";\n' "$dir"
            printf 'Dir::Etc::preferences "/dev/null";\nDir::Etc::preferencesparts "/dev/null";\n'
        fi
    } >"$dir/apt.conf"
    export APT_CONFIG=$dir/apt.conf
    apt-get -q update
}
