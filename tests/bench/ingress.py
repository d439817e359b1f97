#!/usr/bin/env python3
"""Ingress: durable webhooks per second, against a FastAPI app of the usual kind and SQLite alone.

One run, everything interleaved: each round takes every number of connections once, ours (the real
orch-ingress, while the real orch-scheduler drains its inbox) and the peer's in turn, and SQLite alone
right after ours at the mean batch that ours had. Ratios are those of neighbours in a round.

Prints a table and, with --json, one JSON object. Figures to hold: >= 8 x the peer at 64 connections,
>= 80 % of SQLite alone at the same mean batch, worst commit <= 250 ms.
"""

import argparse
import json
import os
import platform
import resource
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from common import BIN, ROOT, TOOLS, free_port, spread

SECRET = "plane_wh_of_the_benchmark"
CONNECTIONS = (64, 16, 256, 1)
SECONDS = 3
REQUESTS = {"ours": 60_000, "peer": 20_000}


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Ours:
    name = "ours"

    def __init__(self, drain=True):
        self.dir = Path(tempfile.mkdtemp(prefix="ob-"))
        self.port = free_port()
        self.header = "X-Plane-Signature"
        config = self.dir / "orchestrator.yaml"
        config.write_text(json.dumps({
            "home": str(self.dir / "home"), "run_dir": str(self.dir / "run"),
            "http": {"listen": f"127.0.0.1:{self.port}"}, "plane": {"webhook_secret": SECRET},
            "projects": [{"key": "BENCH", "repo": "bench", "tracker": "local", "forge": "local",
                          "agent": "command", "ci": "none", "agent_command": ["true"]}]}))
        self.processes = {}
        for service in ("scheduler", "ingress") if drain else ("ingress",):
            self.processes[service] = self.start(service, config)
        self.pid = self.processes["ingress"].pid

    def start(self, service, config):
        mine, its = os.pipe()
        with open(self.dir / f"{service}.log", "wb") as log:
            process = subprocess.Popen([BIN / f"orch-{service}", "-c", config], stdout=log,
                                       stderr=log, pass_fds=[its],
                                       env={**os.environ, "ORCH_NOTIFY_FD": str(its)})
        os.close(its)
        ready, _, _ = select.select([mine], [], [], 20)
        if not ready or os.read(mine, 1) != b"\n":
            raise RuntimeError(f"{service} is not ready: {(self.dir / f'{service}.log').read_text()}")
        os.close(mine)
        return process

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in text.splitlines() if line and line[0] != "#"}

    def wait_drained(self):
        """Seconds until the scheduler has acted on everything."""
        start = time.monotonic()
        while time.monotonic() < start + 120:
            now = self.metrics()
            if now["orch_inbox_acted_on"] >= now["orch_inbox_newest"]:
                return time.monotonic() - start
            time.sleep(0.05)
        raise TimeoutError("the inbox is not drained")

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.dir)


class Peer:
    name = "peer"

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="ob-"))
        self.port = free_port()
        self.header = "X-Plane-Signature"
        with open(self.dir / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/python3", "-m", "uvicorn", "--app-dir", ROOT / "tests/bench/ingress",
                 "fastapi_peer:app", "--port", str(self.port), "--loop", "uvloop", "--http",
                 "httptools", "--no-access-log", "--log-level", "warning"],
                stdout=log, stderr=log,
                env={**os.environ, "PEER_SECRET": SECRET, "PEER_DB": str(self.dir / "peer.db")})
        self.pid = self.process.pid
        end = time.monotonic() + 20
        while subprocess.run(["sh", "-c", f"</dev/tcp/127.0.0.1/{self.port}"], check=False,
                             executable="/bin/bash", capture_output=True).returncode:
            if time.monotonic() > end:
                raise RuntimeError((self.dir / "log").read_text())
            time.sleep(0.1)

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir)


def load(server, connections, seed):
    before = cpu_s(server.pid)
    out = subprocess.run([TOOLS / "load", "127.0.0.1", str(server.port), "/webhook/plane",
                          server.header, SECRET, str(connections), str(REQUESTS[server.name]),
                          str(SECONDS), str(seed)], check=True, capture_output=True, text=True)
    result = json.loads(out.stdout)
    result["cpu_us"] = (cpu_s(server.pid) - before) * 1e6 / result["events"]
    return result


def load_ours(ours, connections, seed):
    before = ours.metrics()
    result = load(ours, connections, seed)
    after = ours.metrics()

    def grown(name):
        return after[name] - before[name]
    if grown("orch_inbox_events_total") != result["events"]:
        raise RuntimeError(f"{result['events']} accepted, {grown('orch_inbox_events_total')} kept")
    result["mean_batch"] = result["events"] / grown("orch_inbox_commits_total")
    result["worst_commit_ms"] = after["orch_inbox_commit_seconds_max"] * 1000
    result["writer_busy"] = grown("orch_inbox_commit_seconds_total") / result["seconds"]
    result["lag_at_end"] = after.get("orch_inbox_newest", 0) - after.get("orch_inbox_acted_on", 0)
    return result


def sqlite_alone(batch, rows):
    with tempfile.TemporaryDirectory(prefix="ob-") as directory:
        out = subprocess.run([TOOLS / "sqlite_alone", f"{directory}/alone.db", f"{batch:.2f}",
                              str(rows)], check=True, capture_output=True, text=True, cwd=ROOT)
        return json.loads(out.stdout)


def one_round(number, connections, drain):
    """Fresh processes and files, so that no round inherits another's."""
    ours, peer = Ours(drain), Peer()
    try:
        rows = []
        for i, count in enumerate(connections):
            seed = number * 100 + i
            mine = load_ours(ours, count, seed)
            alone = sqlite_alone(mine["mean_batch"], mine["events"])
            if drain:
                mine["drained_s"] = ours.wait_drained()
            rows.append({"connections": count, "ours": mine, "alone": alone,
                         "peer": load(peer, count, seed)})
        return rows
    finally:
        ours.stop()
        peer.stop()


def summary(rows):
    """Of one number of connections over all rounds."""
    def of(who, what):
        return [row[who][what] for row in rows]
    ratio = [row["ours"]["events_per_s"] / row["peer"]["events_per_s"] for row in rows]
    share = [row["ours"]["events_per_s"] / row["alone"]["rows_per_s"] for row in rows]
    return {
        "connections": rows[0]["connections"],
        "ours events/s": spread(of("ours", "events_per_s"), 0),
        "peer events/s": spread(of("peer", "events_per_s"), 0),
        "ratio": spread(ratio),
        "ratio_median": statistics.median(ratio),
        "mean batch": spread(of("ours", "mean_batch"), 1),
        "SQLite alone rows/s": spread(of("alone", "rows_per_s"), 0),
        "share of SQLite alone": spread(share),
        "share_median": statistics.median(share),
        "ours p50 us": spread(of("ours", "p50_us"), 0),
        "ours p99 us": spread(of("ours", "p99_us"), 0),
        "peer p50 us": spread(of("peer", "p50_us"), 0),
        "ours CPU us/event": spread(of("ours", "cpu_us"), 1),
        "peer CPU us/event": spread(of("peer", "cpu_us"), 1),
        "writer busy": spread(of("ours", "writer_busy")),
        "worst commit ms": spread(of("ours", "worst_commit_ms"), 1),
        "worst_commit_ms": max(of("ours", "worst_commit_ms")),
        "worst commit of SQLite alone ms": spread(of("alone", "worst_commit_ms"), 1),
        "not drained at the end": spread(of("ours", "lag_at_end"), 0),
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--connections", type=int, nargs="*", default=CONNECTIONS)
    options.add_argument("--no-drain", action="store_true", help="without the scheduler")
    options.add_argument("--json", action="store_true")
    options = options.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    rounds = []
    for number in range(options.rounds):
        rounds.append(one_round(number, options.connections, not options.no_drain))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    result = [summary(rows) for rows in zip(*rounds)]
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()};"
          f" {options.rounds} rounds, min / median / max;"
          f" {'without' if options.no_drain else 'while'} the scheduler"
          f"{'' if options.no_drain else ' drains the inbox'}")
    for row in result:
        print(f"\n{row['connections']} connections")
        for name, value in row.items():
            if isinstance(value, str):
                print(f"  {name:32} {value}")


if __name__ == "__main__":
    main()
