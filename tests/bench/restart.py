#!/usr/bin/env python3
"""Restart latency: kill -9 -> the new process is there, against runsv and a bare fork/exec loop.

Prints one JSON object, times in milliseconds. Figures to hold (ratios of one run): trivial child
<= 1.3 x the bare loop, real service ready <= 1.3 x the same program under the bare loop, next reply at
a client <= 2 x that plus one reconnect interval (10 ms).
"""

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from common import BIN, TOOLS, Fifo, RenameWatch, Supervised, free_port

KILLS = int(os.environ.get("BENCH_KILLS", "10"))
LIVED_S = 1.2  # longer than runsv's second and our reset_s, so that each death is a first one
SERVICE = "monitor"


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def kill_and_wait(pid_of, wait, kills, lived_s):
    """Times from the kill to whatever wait() waits for."""
    times = []
    for _ in range(kills):
        time.sleep(lived_s)
        pid = pid_of()
        start = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait()
        times.append((time.monotonic() - start) * 1000)
    return times


def bare_loop(directory, argv, fifo, variable, kills, environment=None):
    pid_file = directory / "pid"
    fifo.drain()
    loop = subprocess.Popen([TOOLS / "bare_loop", *argv],
                            env={**os.environ, **(environment or {}), variable: fifo.path,
                                 "BENCH_PID": str(pid_file)},
                            stderr=subprocess.DEVNULL)
    try:
        fifo.wait(10)
        return kill_and_wait(lambda: int(pid_file.read_text()), lambda: fifo.wait(10), kills, 0.2)
    finally:
        loop.kill()
        loop.wait()


def trivial_bare(directory):
    fifo = Fifo(directory / "beat-bare")
    return bare_loop(directory, [TOOLS / "beat"], fifo, "BENCH_FIFO", KILLS)


def trivial_ours(directory):
    fifo = Fifo(directory / "beat-ours")
    tree = directory / "sv-trivial"
    script(tree / "beat/run", f"#!/bin/sh\nexec {TOOLS}/beat\n")
    (tree / "beat/service.yaml").write_text("notification-fd: 3\n")
    ours = Supervised(tree, {"BENCH_FIFO": fifo.path})
    try:
        fifo.wait(10)
        ours.wait_ready(["beat"])
        return kill_and_wait(lambda: ours.services()["beat"]["pid"], lambda: fifo.wait(10), KILLS,
                             LIVED_S)
    finally:
        ours.stop()


def trivial_runsv(directory, kills, lived_s):
    fifo = Fifo(directory / f"beat-runsv-{lived_s}")
    folder = directory / f"runsv-{lived_s}"
    script(folder / "run", f"#!/bin/sh\nexec {TOOLS}/beat\n")
    runsv = subprocess.Popen(["runsv", folder], env={**os.environ, "BENCH_FIFO": fifo.path})
    try:
        fifo.wait(10)
        return kill_and_wait(lambda: int((folder / "supervise/pid").read_text()),
                             lambda: fifo.wait(10), kills, lived_s)
    finally:
        runsv.terminate()
        runsv.wait()


def bare_config(directory):
    """The same keys as Supervised gives, in a home of its own."""
    path = directory / "bare.yaml"
    path.write_text(json.dumps({
        "home": str(directory / "home"), "run_dir": str(directory / "run"),
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "projects": [{"key": "BENCH", "repo": "bench", "tracker": "local", "forge": "local",
                      "agent": "command", "ci": "none", "agent_command": ["true"]}]}))
    return path


def real_bare(directory):
    fifo = Fifo(directory / "ready-bare")
    return bare_loop(directory, [BIN / f"orch-{SERVICE}", "-c", bare_config(directory)], fifo,
                     "BENCH_READY", KILLS)


def real_tree(directory):
    tree = directory / "sv-real"
    script(tree / SERVICE / "run", f"#!/bin/sh\nexec orch-{SERVICE}\n")
    (tree / SERVICE / "service.yaml").write_text("notification-fd: 3\n")
    return tree


def real_ours(tree):
    ours = Supervised(tree)
    try:
        ours.wait_ready([SERVICE])
        watch = RenameWatch(ours.run_dir)

        def wait_ready_again(old):
            while True:
                watch.wait("supervisor.json", 10)
                service = ours.services().get(SERVICE, {})
                if service.get("pid") not in (None, old) and service.get("ready"):
                    return

        times = []
        for _ in range(KILLS):
            time.sleep(LIVED_S)
            pid = ours.services()[SERVICE]["pid"]
            times += kill_and_wait(lambda: pid, lambda: wait_ready_again(pid), 1, 0)
        return times
    finally:
        ours.stop()


def next_reply(tree):
    ours = Supervised(tree)
    try:
        ours.wait_ready([SERVICE])
        times = []
        for _ in range(KILLS):
            time.sleep(LIVED_S)
            pid = ours.services()[SERVICE]["pid"]
            out = subprocess.run([TOOLS / "next_reply", ours.run_dir, SERVICE, str(pid)],
                                 check=True, capture_output=True)
            times.append(int(out.stdout) / 1000)
        return times
    finally:
        ours.stop()


def main():
    result = {}
    with tempfile.TemporaryDirectory(prefix="ob-") as name:
        directory = Path(name)
        tree = real_tree(directory)
        measured = {
            "trivial bare": trivial_bare(directory),
            "trivial ours": trivial_ours(directory),
            "trivial runsv, lived 1.2 s": trivial_runsv(directory, KILLS, LIVED_S),
            "trivial runsv, lived 0.2 s": trivial_runsv(directory, 3, 0.2),
            "real bare": real_bare(directory),
            "real ours": real_ours(tree),
            "next reply": next_reply(tree),
        }
    for key, times in measured.items():
        result[key] = {"min": min(times), "median": statistics.median(times), "max": max(times)}
    median = {key: value["median"] for key, value in result.items()}
    result["ratio trivial"] = median["trivial ours"] / median["trivial bare"]
    result["ratio real"] = median["real ours"] / median["real bare"]
    result["ratio next reply"] = (median["next reply"] - 10) / median["real ours"]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
