#!/usr/bin/env bash
# Prints the CPython interpreters (3.11 and newer) of this machine, one path a line and one a minor
# version. The first is the one that everything runs on by default: `python3` when it is new enough,
# else the newest found.
#
#   scripts/pythons.sh all | main
#   scripts/pythons.sh others PYTHON     all but the minor version of PYTHON
set -euo pipefail

# "3.12 /usr/bin/python3.12", or nothing for what is no usable CPython (a pyenv shim without its
# version, PyPy, a free-threaded build, Python 3.10).
describe() {
    "$1" -I -c '
import sys, sysconfig
usable = sys.implementation.name == "cpython" and sys.version_info >= (3, 11)
if usable and sys.version_info.releaselevel == "final" and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    # A virtual environment stands for the interpreter that it was made from.
    print("{0}.{1} {2}".format(*sys.version_info[:2], sys._base_executable))
' 2>/dev/null </dev/null || true
}

candidates() {
    command -v python3 || true
    local folder minor
    for minor in 20 19 18 17 16 15 14 13 12 11; do
        for folder in ${PATH//:/ } /usr/bin /usr/local/bin /opt/homebrew/bin \
            "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin; do
            [ -x "$folder/python3.$minor" ] && echo "$folder/python3.$minor"
        done
    done
    true
}

found() {
    candidates | while read -r path; do describe "$path"; done | awk '!seen[$1]++'
}

case "${1:-}" in
    all) found | cut -d ' ' -f 2 ;;
    main) found | awk 'NR == 1 {print $2}' ;;
    others)
        chosen=$(describe "$2")
        found | awk -v chosen="${chosen%% *}" '$1 != chosen {print $2}'
        ;;
    *)
        echo "usage: scripts/pythons.sh all | main | others PYTHON" >&2
        exit 2
        ;;
esac
