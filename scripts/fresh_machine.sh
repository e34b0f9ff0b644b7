#!/usr/bin/env bash
# Runs commands in a clone of this repository's last commit on a bare system made for it: what a
# newcomer sees who follows the README. Needs root, and debootstrap unless FOLDER has a system already.
#
#   scripts/fresh_machine.sh FOLDER [COMMAND]         # COMMAND: "make demo && make test"
#
#   SUITE=trixie  MIRROR=http://deb.debian.org/debian   the system to make
#   SYSTEM="python3 make git"                           its packages beside the base system
#
# The system reaches package registries the way that this machine does: its certificates, its pip and
# apt configuration are copied.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$1
command=${2:-make demo && make test}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}

if [ ! -e "$folder/usr" ]; then
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$folder" "$mirror"
fi

cp -L /etc/resolv.conf /etc/hosts "$folder/etc/"
cp -L /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
for setting in /etc/pip.conf ~/.config/pip/pip.conf ~/.pip/pip.conf /etc/apt/apt.conf.d/99*; do
    [ -e "$setting" ] && install -D "$setting" "$folder$setting"
done
environment=(HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
while IFS= read -r setting; do
    environment+=("$setting")
done < <(env | grep -v '^PIP_FIND_LINKS=' | grep -E '^(PIP_|SSL_CERT_FILE=|REQUESTS_CA_BUNDLE=|https?_proxy=|HTTPS?_PROXY=)' || true)

mounted=()
leave() {
    local point
    for point in ${mounted[@]+"${mounted[@]}"}; do umount "$point"; done
}
trap leave EXIT
for point in proc dev/shm; do
    mountpoint -q "$folder/$point" && continue
    mkdir -p "$folder/$point"
    if [ "$point" = proc ]; then mount -t proc proc "$folder/proc"; else mount -t tmpfs tmpfs "$folder/$point"; fi
    mounted+=("$folder/$point")
done
for device in null zero random urandom; do
    [ -e "$folder/dev/$device" ] || cp -a "/dev/$device" "$folder/dev/$device"
done

inside() {
    env -i "${environment[@]}" chroot "$folder" bash -euc "$1" </dev/null
}
inside "apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${SYSTEM:-python3 make git} >/dev/null"
rm -rf "$folder/root/clone"
git clone --quiet . "$folder/root/clone"
inside "cd /root/clone; python3 --version; $command"
