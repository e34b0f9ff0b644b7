#!/usr/bin/env bash
# Makes a virtual environment that can build the package, and first whatever the system lacks for it
# (through apt-get where that is possible without asking; otherwise it says what to run and stops).
#
#   scripts/venv.sh FOLDER [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$1
python=${2:-$(scripts/pythons.sh main)}
if [ -n "$python" ] && ! command -v "$python" >/dev/null; then
    echo "scripts/venv.sh: there is no interpreter $python: give PYTHON=... another one" >&2
    exit 1
fi

# What is missing, in Debian's package names; empty when nothing is.
missing() {
    local versioned
    command -v cc >/dev/null || command -v gcc >/dev/null || echo gcc
    command -v pkg-config >/dev/null || echo pkg-config
    # libc's own headers come with the compiler only where "recommended" packages are installed.
    [ "$(uname)" != Linux ] || [ -e /usr/include/stdio.h ] || echo libc6-dev
    pkg-config --exists libnghttp2 2>/dev/null || echo libnghttp2-dev
    if [ -z "$python" ]; then
        echo python3 python3-dev python3-venv
        return
    fi
    versioned=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    "$python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || echo "$versioned-dev"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$versioned-venv"
}

install() {
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || return 1
        root=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    echo "installing $*"
    ${root[@]+"${root[@]}"} apt-get update -qq
    ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

advise() {
    {
        echo "Missing on this machine: $*"
        if command -v apt-get >/dev/null; then
            echo "Run:  sudo apt-get update && sudo apt-get install -y $*"
        elif command -v dnf >/dev/null; then
            echo "Run:  sudo dnf install -y gcc python3 python3-devel libnghttp2-devel pkgconf-pkg-config"
        elif [ "$(uname)" = Darwin ]; then
            echo "Run:  xcode-select --install; brew install python libnghttp2 pkgconf"
        else
            echo "Install a C compiler, Python 3.11 or newer with its headers, libnghttp2 with its header, pkg-config."
        fi
        echo "Then run make again."
    } >&2
    exit 1
}

read -ra packages <<<"$(missing | tr '\n' ' ')"
if [ ${#packages[@]} -gt 0 ]; then
    install "${packages[@]}" || advise "${packages[@]}"
    python=${python:-$(scripts/pythons.sh main)}
    if [ -z "$python" ]; then
        echo "scripts/venv.sh: Gyrfalcon needs Python 3.11 or newer, and this system's is older" >&2
        exit 1
    fi
    read -ra packages <<<"$(missing | tr '\n' ' ')"
    [ ${#packages[@]} -eq 0 ] || advise "${packages[@]}"
fi

rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --upgrade pip
"$folder/bin/python" --version
