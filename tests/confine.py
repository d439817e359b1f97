#!/usr/bin/python3
"""Runs a command so that nothing of it outlives it: every process it leaves behind is ended, and its
folder for temporary things (ORCH_TEST_TMP) goes with it.

Usage: confine.py SECONDS COMMAND [ARGUMENT...]
Exit status: the command's; 1 where it was 0 and something was left behind; 124 where the time was up;
130 where we were told to end. A folder that a failed test left for a look is kept, and named.

Services, keepers and agents have sessions of their own and change parents when theirs dies. All of them
end up with the nearest subreaper, which is this process; so this holds also where it was the caller that
was killed, with -9 even."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
INTERRUPT_S = 20  # for the command to end what it started
LEAVE_S = 5       # for what is ending already


class Told(Exception):
    """A signal came."""


def on_signal(_number, _frame):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Told


def bind_to_parent():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getppid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(130)


def start(command, folder):
    # a shell's background job ignores SIGINT, and what is ignored stays so over an exec
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    return subprocess.Popen(command, env={**os.environ, "ORCH_TEST_TMP": folder},
                            start_new_session=True)


def descendants():
    """{pid: command line} of everything below us that lives."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if stat[0] != "Z":
                parents[int(entry.name)] = int(stat[1])
    found = {}
    for pid in parents:
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid() and pid != os.getpid():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found[pid] = line[:100]
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def sweep(patience):
    """Ends whatever is left once it has had its time; what that was."""
    end, left = time.monotonic() + patience, {}
    while True:
        reap()
        living = descendants()
        if not living:
            return left
        if time.monotonic() > end:
            left.update(living)
            for pid in living:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        time.sleep(0.05)


def run(command, seconds, folder):
    process, status = start(command, folder), None
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        status = 124
    except Told:
        status = 130
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(INTERRUPT_S)
        except subprocess.TimeoutExpired:
            pass
    return status, status in (124, 130)


def main():
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        print("usage: confine.py SECONDS COMMAND [ARGUMENT...]", file=sys.stderr)
        return 2
    bind_to_parent()
    folder = tempfile.mkdtemp(prefix="ot-", dir="/tmp")
    status, cut_short = 1, True
    try:
        status, cut_short = run(sys.argv[2:], int(sys.argv[1]), folder)
    finally:
        left = sweep(0 if cut_short else LEAVE_S)
        if cut_short or not os.listdir(folder):
            shutil.rmtree(folder, ignore_errors=True)
    if not cut_short:
        for pid, line in left.items():
            print(f"confine: left behind: {pid} {line}", flush=True)
        if os.path.isdir(folder):
            print(f"confine: kept for a look: {folder}", flush=True)
        status = status or (1 if left else 0)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
