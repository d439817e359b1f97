#!/usr/bin/env python3
"""A hop between two processes: our bus against nng bare, turn about in one run.

Prints one JSON object, microseconds per hop (half a round trip). nng bare carries the same bytes and
reads nothing in them; ours are JSON, checked against the table of messages on both sides."""

import json
import os
import statistics
import subprocess
import tempfile

from common import TOOLS

COUNT = int(os.environ.get("BENCH_HOPS", "4000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
WAYS = ("nng", "ping", "request")


def hop(way):
    with tempfile.TemporaryDirectory(prefix="ob-") as directory:
        out = subprocess.run([TOOLS / "hop", way, directory, str(COUNT)], check=True,
                             capture_output=True, text=True)
        return json.loads(out.stdout)["hop_p50_us"]


def main():
    rows = [{way: hop(way) for way in WAYS} for _ in range(ROUNDS)]
    result = {way: statistics.median(row[way] for row in rows) for way in WAYS}
    for way in WAYS[1:]:
        result[f"ratio {way}"] = statistics.median(row[way] / row["nng"] for row in rows)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
