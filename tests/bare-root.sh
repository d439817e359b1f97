#!/bin/sh
# Runs the README's two commands on a bare Debian: debootstrap, git clone, demo, test.
# Usage (as root): tests/bare-root.sh bookworm|trixie DIR [demo|test|both]
# DIR/base is made once and kept; each run works in a copy of it, which is removed unless it failed.
set -eu
suite=$1 dir=$2 what=${3:-both}
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$dir"
if [ ! -e "$dir/base/.complete" ]; then
    rm -rf --one-file-system "$dir/base"
    debootstrap --variant=minbase --include=ca-certificates,git "$suite" "$dir/base" >"$dir/debootstrap.log" 2>&1
    touch "$dir/base/.complete"
fi
root=$(mktemp -d "$dir/root-XXXXXX")
# Own mounts only: what is mounted is unmounted before anything is removed.
unmount() {
    for point in dev/shm dev/pts dev proc; do
        ! mountpoint -q "$root/$point" || umount -l "$root/$point"
    done
}
finish() {
    status=$?
    unmount
    if [ $status = 0 ]; then
        rm -rf --one-file-system "$root"
    else
        echo "bare-root: failed, left in $root" >&2
    fi
    exit $status
}
trap finish EXIT
cp -ax "$dir/base/." "$root/"
mount -t proc proc "$root/proc"
mount -t devtmpfs dev "$root/dev" 2>/dev/null || mount --bind /dev "$root/dev"
mkdir -p "$root/dev/shm" && mount -t tmpfs tmpfs "$root/dev/shm"
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/hosts "$root/etc/hosts"
git clone -q --bare "$source" "$root/src.git"
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 chroot "$root" sh -ec "$1"; }
inside 'git clone -q /src.git /orchestrator'
[ "$what" = test ] || inside 'cd /orchestrator && ./scripts/demo </dev/null'
[ "$what" = demo ] || inside 'cd /orchestrator && ./scripts/test </dev/null'
