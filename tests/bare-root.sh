#!/bin/sh
# Runs the README's two commands on a bare Debian: debootstrap, git clone, demo, test.
# Usage (as root): tests/bare-root.sh bookworm|trixie DIR [demo|test|both]
# DIR/base is made once and kept; each run works in a copy of it, which is removed unless it failed.
# Ends with the seconds that each step took.
set -eu
# In a mount namespace of its own: what is mounted goes with the last process, however it ends.
[ "${ORCH_BARE_ROOT-}" ] || ORCH_BARE_ROOT=1 exec unshare -m --propagation private "$0" "$@"
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
suite=$1 what=${3:-both}
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$2"
dir=$(cd "$2" && pwd)
if [ ! -e "$dir/base/.complete" ]; then
    rm -rf --one-file-system "$dir/base"
    debootstrap --variant=minbase --include=ca-certificates,git "$suite" "$dir/base" >"$dir/debootstrap.log" 2>&1
    touch "$dir/base/.complete"
fi
root=$(mktemp -d "$dir/root-XXXXXX")
# Own mounts only: what is mounted is unmounted before anything is removed.
unmount() {
    for point in dev/shm dev/pts dev sys proc .; do
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
trap 'exit 130' INT TERM
cp -ax "$dir/base/." "$root/"
# a mount of its own, so that a test may have a private view of it
mount --bind "$root" "$root"
mount --make-private "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sys "$root/sys"
# devices of its own: what a test does to one is not done to the machine's
mount -t tmpfs -o mode=755 dev "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
mount -t tmpfs shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for fd in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${fd%:*}" "$root/dev/${fd#*:}"; done
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/hosts "$root/etc/hosts"
git clone -q --bare "$source" "$root/src.git"
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    ORCH_TEST_LIMIT_S="${ORCH_TEST_LIMIT_S:-1200}" chroot "$root" sh -ec "$1"; }
took=
step() {
    begun=$(date +%s)
    inside "$2"
    took="$took, $1 $(($(date +%s) - begun)) s"
}
step clone 'git clone -q /src.git /orchestrator'
[ "$what" = test ] || step demo 'cd /orchestrator && ./scripts/demo </dev/null'
[ "$what" = demo ] || step test 'cd /orchestrator && ./scripts/test </dev/null'
echo "bare-root: $suite well${took}"
