# scripts/demo and scripts/test source this file. It makes .venv once, and updates it when
# pyproject.toml changes. It needs Python 3.11 or newer with venv, git, and a package index that pip
# can reach. It sets $bin.

# What is compiled is kept, or each of a thousand processes would compile it again.
unset PYTHONDONTWRITEBYTECODE

say() { printf '== %s\n' "$*"; }

die() {
    printf 'error: %s\n  fix: %s\n' "$1" "$2" >&2
    exit 2
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13 python; do
        if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer was not found" "install python3.11, or give its path: PYTHON=/path/to/python3 $0"
}

# prepare EXTRA: makes a virtual environment with this checkout and its EXTRA ("demo", "docs" or "test").
prepare() {
    bin=$PWD/.venv/bin
    if [ ! -x "$bin/python" ] || ! new_enough "$bin/python"; then
        python=$(find_python) || exit
        say "making .venv with $python"
        rm -rf .venv
        "$python" -m venv .venv || die "$python cannot make a virtual environment" \
            "install its venv module (on Debian: apt install python3-venv)"
    fi
    # The "test" extra includes the others.
    if ! cmp -s pyproject.toml ".venv/installed-$1" && ! cmp -s pyproject.toml .venv/installed-test; then
        say "installing dcfm-node[$1] into .venv (only once; torch takes minutes)"
        # Python compiles what it imports; pip would compile all, which takes a minute.
        "$bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --editable ".[$1]" ||
            die "pip could not install dcfm-node[$1]" "see the output of pip above; this step needs the network"
        cp pyproject.toml ".venv/installed-$1"
    fi
}
