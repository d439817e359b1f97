#!/usr/bin/env python3
"""What a claim costs with 10^3, 10^5 and 10^6 finished jobs behind it: tests/bench/claim/claim.c, the
scheduler's own turns, flushed as always; 400 waiting jobs in 50 repositories.

Prints one JSON object, microseconds. To hold: p50 within 1.3 x from the shortest history to the
longest. The rounds take the histories turn about, so that a busy moment of the machine hits all."""

import json
import os
import statistics
import subprocess
import tempfile

from common import ROOT, TOOLS

FINISHED = [int(number) for number in os.environ.get("BENCH_FINISHED", "1000 100000 1000000").split()]
CLAIMS = int(os.environ.get("BENCH_CLAIMS", "300"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
FIGURES = ("claim_p50_us", "claim_max_us", "claim_cpu_p50_us", "blocked_poll_p50_us")


def claim(directory, finished):
    out = subprocess.run([TOOLS / "claim", directory, str(finished), str(CLAIMS)], check=True,
                         capture_output=True, text=True, cwd=ROOT)
    return json.loads(out.stdout)


def measure(directory):
    for finished in FINISHED:  # made once, and read into memory
        claim(directory, finished)
    return [{finished: claim(directory, finished) for finished in FINISHED} for _ in range(ROUNDS)]


def main():
    kept = os.environ.get("BENCH_DIR")  # the files are made once for several runs
    with tempfile.TemporaryDirectory(prefix="ob-") as directory:
        rounds = measure(kept or directory)
    result = {str(finished): {figure: statistics.median(rows[finished][figure] for rows in rounds)
                              for figure in FIGURES} for finished in FINISHED}
    result["growth"] = statistics.median(
        rows[FINISHED[-1]]["claim_p50_us"] / rows[FINISHED[0]]["claim_p50_us"] for rows in rounds)
    result["growth of CPU"] = statistics.median(
        rows[FINISHED[-1]]["claim_cpu_p50_us"] / rows[FINISHED[0]]["claim_cpu_p50_us"]
        for rows in rounds)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
