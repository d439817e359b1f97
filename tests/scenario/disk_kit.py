"""A small disk that can be filled: a tmpfs in a mount namespace that a sleeping process holds. Programs
see it that are started with its prefix; without the right to make one the test is skipped."""

import shutil
import subprocess
from pathlib import Path

import pytest

HOLD = ('cp -a "$0" "$0.copy"; mount -t tmpfs -o "size=$1k" small "$0"; cp -a "$0.copy/." "$0/"; '
        'rm -r "$0.copy"; echo mounted; exec sleep 900')


class SmallDisk:
    def __init__(self, folder, size_kb):
        """Mounted over a folder that is there; what is in it is copied."""
        if not (shutil.which("unshare") and shutil.which("nsenter")):
            pytest.skip("no unshare and nsenter")
        self.folder = folder
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", HOLD, folder, str(size_kb)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "mounted\n":
            pytest.skip(f"no tmpfs in a private namespace: {self.holder.stderr.read().strip()}")
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
