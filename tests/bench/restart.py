#!/usr/bin/env python3
"""Restart latency: kill -9 -> the new process is there, against runsv and a bare fork/exec loop.

Prints one JSON object, times in milliseconds. Figures to hold (ratios of one run): trivial child
<= 1.3 x the bare loop, real service ready <= 1.3 x the same program under the bare loop, next reply at
a client <= 2 x that plus one reconnect interval (10 ms).

Those compared are killed in turn within each round, so that a machine that gets slower does so for all
of them. A trivial child is there when its byte is in a FIFO. A real service is ready when it says so in
its log, by the wall clock: the same line of the same program under both; what a reader of
supervisor.json sees is shown beside it.
"""

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from common import BIN, TOOLS, Fifo, RenameWatch, Supervised, free_port

KILLS = int(os.environ.get("BENCH_KILLS", "15"))
SHORT_KILLS = 3  # of those that runsv lets wait
LIVED_S = 1.2  # longer than runsv's second and our reset_s, so that each death is a first one
RECONNECT_MS = 10
SERVICE = "monitor"


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Subject:
    """Something under supervision: pid() of it, end() of all of it."""

    def __init__(self, directory):
        self.dir = directory
        self.dir.mkdir()
        self.process = None

    def time_kill(self):
        """Milliseconds from the kill to the next one, as wait_next() sees it."""
        pid = self.pid()
        begun = time.time()
        os.kill(pid, signal.SIGKILL)
        return (self.wait_next(pid) - begun) * 1000

    def end(self):
        self.process.terminate()
        self.process.wait(20)


class Beat(Subject):
    """A trivial child that writes a byte into a FIFO as soon as it runs."""

    def __init__(self, directory):
        super().__init__(directory)
        self.fifo = Fifo(directory / "beat")
        self.environment = {**os.environ, "BENCH_FIFO": self.fifo.path}
        self.start()
        self.fifo.wait(10)

    def wait_next(self, _):
        self.fifo.wait(10)
        return time.time()


class BareBeat(Beat):
    def start(self):
        self.process = subprocess.Popen([TOOLS / "bare_loop", TOOLS / "beat"],
                                        env={**self.environment, "BENCH_PID": self.dir / "pid"})

    def pid(self):
        return int((self.dir / "pid").read_text())


class RunsvBeat(Beat):
    def start(self):
        script(self.dir / "sv/run", f"#!/bin/sh\nexec {TOOLS}/beat\n")
        self.process = subprocess.Popen(["runsv", self.dir / "sv"], env=self.environment)

    def pid(self):
        return int((self.dir / "sv/supervise/pid").read_text())


class OurBeat(Beat):
    def start(self):
        script(self.dir / "sv/beat/run", f"#!/bin/sh\nexec {TOOLS}/beat\n")
        (self.dir / "sv/beat/service.yaml").write_text("notification-fd: 3\n")
        self.ours = Supervised(self.dir / "sv", {"BENCH_FIFO": self.fifo.path})
        self.ours.wait_ready(["beat"])

    def pid(self):
        return self.ours.services()["beat"]["pid"]

    def end(self):
        self.ours.stop()


class Real(Subject):
    """A service of ours; ready when its log says so."""

    def wait_next(self, old):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for line in self.log.read_text().splitlines()[::-1]:
                entry = json.loads(line)
                if entry["event"] == "ready" and entry["pid"] != old and entry["pid"] not in self.seen:
                    self.seen.add(entry["pid"])
                    stamp = datetime.strptime(entry["ts"], "%Y-%m-%dT%H:%M:%S.%fZ")
                    return stamp.replace(tzinfo=timezone.utc).timestamp() + 0.0005  # cut to ms
                if entry["pid"] == old:
                    break
            time.sleep(0.02)  # leaves the processors alone: the time is in the line
        raise TimeoutError(self.log)


class BareReal(Real):
    """The same program under the bare loop; the same keys as Supervised gives, a home of its own."""

    def __init__(self, directory):
        super().__init__(directory)
        config = directory / "bare.yaml"
        config.write_text(json.dumps({
            "home": str(directory / "home"), "run_dir": str(directory / "run"),
            "http": {"listen": f"127.0.0.1:{free_port()}"},
            "projects": [{"key": "BENCH", "repo": "bench", "tracker": "local", "forge": "local",
                          "agent": "command", "ci": "none", "agent_command": ["true"]}]}))
        self.log, self.fifo = directory / "log", Fifo(directory / "ready")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [TOOLS / "bare_loop", BIN / f"orch-{SERVICE}", "-c", config], stderr=log,
                env={**os.environ, "BENCH_READY": self.fifo.path, "BENCH_PID": directory / "pid"})
        self.fifo.wait(10)
        self.seen = {self.pid()}

    def pid(self):
        return int((self.dir / "pid").read_text())


class OurReal(Real):
    def __init__(self, directory):
        super().__init__(directory)
        script(directory / f"sv/{SERVICE}/run", f"#!/bin/sh\nexec orch-{SERVICE}\n")
        (directory / f"sv/{SERVICE}/service.yaml").write_text("notification-fd: 3\n")
        self.ours = Supervised(directory / "sv")
        self.ours.wait_ready([SERVICE])
        self.log = self.ours.dir / f"home/log/{SERVICE}/current"
        self.seen = {self.pid()}

    def pid(self):
        return self.ours.services()[SERVICE]["pid"]

    def time_json(self):
        """The same as a reader of supervisor.json sees it."""
        watch, old = RenameWatch(self.ours.run_dir), self.pid()
        begun = time.monotonic()
        os.kill(old, signal.SIGKILL)
        while True:
            watch.wait("supervisor.json", 10)
            service = self.ours.services().get(SERVICE, {})
            if service.get("pid") not in (None, old) and service.get("ready"):
                os.close(watch.fd)
                self.seen.add(service["pid"])
                return (time.monotonic() - begun) * 1000

    def time_next_reply(self):
        out = subprocess.run([TOOLS / "next_reply", self.ours.run_dir, SERVICE, str(self.pid())],
                             check=True, capture_output=True)
        self.ours.wait_ready([SERVICE])
        self.seen.add(self.pid())
        return int(out.stdout) / 1000

    def end(self):
        self.ours.stop()


def measure(directory):
    subjects = {"trivial bare": BareBeat(directory / "bb"), "trivial ours": OurBeat(directory / "bo"),
                "trivial runsv, lived 1.2 s": RunsvBeat(directory / "br"),
                "real bare": BareReal(directory / "rb"), "real ours": OurReal(directory / "ro")}
    real, runsv = subjects["real ours"], subjects["trivial runsv, lived 1.2 s"]
    times = {name: [] for name in [*subjects, "real ours, in supervisor.json", "next reply",
                                   "trivial runsv, lived 0.2 s"]}
    try:
        for _ in range(KILLS):
            time.sleep(LIVED_S)
            for name, subject in subjects.items():
                times[name].append(subject.time_kill())
            time.sleep(LIVED_S)
            times["next reply"].append(real.time_next_reply())
            time.sleep(LIVED_S)
            times["real ours, in supervisor.json"].append(real.time_json())
        for _ in range(SHORT_KILLS):
            time.sleep(0.2)
            times["trivial runsv, lived 0.2 s"].append(runsv.time_kill())
    finally:
        for subject in subjects.values():
            subject.end()
    return times


def main():
    with tempfile.TemporaryDirectory(prefix="ob-") as name:
        measured = measure(Path(name))
    median = {key: statistics.median(times) for key, times in measured.items()}
    result = {key: {"min": min(times), "median": median[key], "max": max(times)}
              for key, times in measured.items()}
    result["ratio trivial"] = median["trivial ours"] / median["trivial bare"]
    result["ratio real"] = median["real ours"] / median["real bare"]
    result["ratio next reply"] = (median["next reply"] - RECONNECT_MS) / median["real ours"]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
