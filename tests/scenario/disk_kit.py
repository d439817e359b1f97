"""A small disk that can be filled: a tmpfs in a mount namespace that a sleeping process holds. Programs
see it that are started with its prefix."""

import subprocess
from pathlib import Path

import pytest

HOLD = ('cp -a "$0" "$0.copy"; mount -t tmpfs -o "size=$1k" small "$0"; cp -a "$0.copy/." "$0/"; '
        'rm -r "$0.copy"; echo mounted; exec sleep 900')


def require_mounts():
    """Skips the test where we may not mount in a namespace of our own: before anything is made that would
    have to be taken away again."""
    try:
        tried = subprocess.run(["unshare", "--mount", "--propagation", "private",
                                "mount", "-t", "tmpfs", "none", "/mnt"],
                               capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare (util-linux)")
    if tried.returncode:
        pytest.skip(f"no tmpfs in a private namespace: {tried.stderr.strip()}")


class SmallDisk:
    def __init__(self, folder, size_kb):
        """Mounted over a folder that is there; what is in it is copied."""
        self.folder = folder
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", HOLD, folder, str(size_kb)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "mounted\n", self.holder.stderr.read()
        self.prefix = ["nsenter", "--target", str(self.holder.pid), "--mount", "--root", "--"]
        self.outside = Path(f"/proc/{self.holder.pid}/root{folder}")  # for us, who are not inside

    def run(self, *command, check=True):
        return subprocess.run([*self.prefix, *map(str, command)], check=check, capture_output=True,
                              text=True)

    def fill(self, *sizes):
        """By blocks of these sizes, one after the other; to the last byte where the last is 1."""
        for size in sizes or ("64k", "1k", "1"):
            self.run("dd", "if=/dev/zero", f"of={self.folder}/filler.{size}", f"bs={size}",
                     "conv=notrunc", "oflag=append", check=False)

    def free(self):
        self.run("sh", "-c", f"rm -f {self.folder}/filler.*")

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        self.holder.stderr.close()
