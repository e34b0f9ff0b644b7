#!/usr/bin/env bash
# Installs clang where it is missing, or says how.
set -euo pipefail

for name in "${CLANG:-clang}" clang-{25..13}; do
    command -v "$name" >/dev/null && exit 0
done
root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null && root=(sudo -n)
fi
if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || [ ${#root[@]} -gt 0 ]; }; then
    echo "installing clang"
    ${root[@]+"${root[@]}"} apt-get update -qq
    ${root[@]+"${root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends clang </dev/null >/dev/null
    exit
fi
echo "Fuzzing needs clang: apt install clang (Debian, Ubuntu), dnf install clang (Fedora)" >&2
exit 1
