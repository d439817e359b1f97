#!/usr/bin/env python3
"""Memory of an idle instance, in kB: PSS of every process, and all their pages counted once.

PSS divides a page by everybody who maps it, strangers too: on a machine with other users of the same
libraries it flatters. "once" counts each page that any of ours maps one time, whoever else has it: no
machine can make it more. To hold: PSS of all together <= 16 MB."""

import json
import os
import struct
import time
from pathlib import Path

from common import ROOT, Supervised

SERVICES = ["scheduler", "ingress", "runner", "notifier", "reconciler", "reaper", "monitor"]
SETTLE_S = 8
PAGE = os.sysconf("SC_PAGE_SIZE")
PRESENT, FRAME = 1 << 63, (1 << 55) - 1


def pss(pid):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError(pid)


def frames(pid):
    """Physical pages of a process; empty where we may not see them."""
    found = set()
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if line.endswith("[vsyscall]"):
                continue
            pagemap.seek(start // PAGE * 8)
            data = pagemap.read((end - start) // PAGE * 8)
            for (entry,) in struct.iter_unpack("Q", data[:len(data) // 8 * 8]):
                if entry & PRESENT and entry & FRAME:
                    found.add(entry & FRAME)
    return found


def main():
    ours = Supervised(Path(os.environ.get("ORCH_SV_DIR", ROOT / "sv")))
    try:
        ours.wait_ready(SERVICES)
        time.sleep(SETTLE_S)
        pids = {name: ours.services()[name]["pid"] for name in SERVICES}
        pids["supervisor"] = ours.process.pid
        found = {name: pss(pid) for name, pid in pids.items()}
        pages = set().union(*(frames(pid) for pid in pids.values()))
    finally:
        ours.stop()
    found["total"] = sum(found.values())
    found["once"] = len(pages) * PAGE // 1024 or None
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
