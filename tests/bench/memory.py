#!/usr/bin/env python3
"""PSS of every process of an idle instance, in kB. To hold: <= 16 MB together."""

import json
import os
import time
from pathlib import Path

from common import ROOT, Supervised

SERVICES = ["scheduler", "ingress", "runner", "notifier", "reconciler", "reaper", "monitor"]
SETTLE_S = 8


def pss(pid):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError(pid)


def main():
    ours = Supervised(Path(os.environ.get("ORCH_SV_DIR", ROOT / "sv")))
    try:
        ours.wait_ready(SERVICES)
        time.sleep(SETTLE_S)
        found = {name: pss(ours.services()[name]["pid"]) for name in SERVICES}
        found["supervisor"] = pss(ours.process.pid)
    finally:
        ours.stop()
    found["total"] = sum(found.values())
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
