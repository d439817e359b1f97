"""The Nth write, fsync, rename and send of a program fails, for one N after another, while journeys run
on: in the inbox (orch-ingress), the store (orch-scheduler), the run directory (orch-runner, and
orch-keeper alone), the supervisor. Prints the table place x call x outcome.

ORCH_FAULTS: how many faults of the running instance (24, sampled by ORCH_FAULTS_SEED; "all": every N
up to 60, of sends 25, or until a call is no more reached). Mutations: an inbox that answers 202 after a failed commit, a runner
that goes on after a failed rename of result.json, a keeper that executes after a failed fsync of
`started`."""

import errno
import os
import random
import shutil
import subprocess
import time
from collections import Counter, defaultdict

import pytest

from harness import BIN
from invariants import check_all
from journeys import Journeys
from keeper_kit import KEEPER, Run

SHIM = BIN.parent / "test-bin/fault_shim.so"
FAULTS = os.environ.get("ORCH_FAULTS", "24")
SEED = int(os.environ.get("ORCH_FAULTS_SEED", "1"))
PLACES = {"orch-ingress": "ingress", "orch-scheduler": "scheduler", "orch-runner": "runner",
          "orch-notifier": "notifier", "orch-reconciler": "reconciler", "orchestrator": "supervisor"}
KINDS = {"write": errno.ENOSPC, "fsync": errno.EIO, "rename": errno.ENOSPC, "send": errno.ECONNRESET}
REACH_S = 2.0
# "all" ends somewhere: each answer to a ping is a send, each turn of the scheduler some writes
LAST = {"send": 25, "write": 60, "fsync": 60, "rename": 60}


def sanitized():
    """Their runtime has to be loaded first."""
    program = (BIN / "orch-scheduler").read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


pytestmark = pytest.mark.skipif(sanitized(), reason="LD_PRELOAD and a sanitizer do not go together")


class Faults:
    def __init__(self, instance, journeys):
        self.instance, self.journeys = instance, journeys
        self.dir = instance.dir / "faults"
        self.dir.mkdir()
        self.table = defaultdict(Counter)
        self.furthest = Counter()

    def environment(self):
        return {"LD_PRELOAD": str(SHIM), "FAULT_DIR": str(self.dir)}

    def hits(self):
        try:
            return (self.dir / "hits").read_text().splitlines()
        except FileNotFoundError:
            return []

    def restart(self, service):
        if service == "supervisor":
            self.instance.kill("supervisor")
            self.instance.start(wait=False, environment=self.environment())
        else:
            self.instance.wait_for(lambda: self.instance.pid(service), 30, f"{service} runs")
            try:
                self.instance.kill(service)
            except ProcessLookupError:
                pass  # the last fault was its end just now

    def inject(self, program, kind, number):
        """The outcome; None where the call did not come."""
        service, before = PLACES[program], len(self.hits())
        armed = self.dir / program
        armed.write_text(f"{kind} {number} {KINDS[kind]}")
        self.restart(service)
        end = time.monotonic() + REACH_S
        while len(self.hits()) == before and time.monotonic() < end:
            self.journeys.step()
            self.journeys.refill(2)
            time.sleep(0.01)
        armed.unlink(missing_ok=True)
        hits = self.hits()[before:]
        if not hits:
            return None
        pid = int(hits[0].split()[1])
        self.settle(service)
        lives = self.instance.pid(service) == pid
        outcome = "went on" if lives else "started anew"
        self.table[program, kind][outcome] += 1
        self.furthest[program, kind] = max(self.furthest[program, kind], number)
        return outcome

    def settle(self, service):
        """All is well again, by itself."""
        if service == "supervisor" and self.instance.process.poll() is not None:
            self.instance.start(wait=False, environment=self.environment())
        self.instance.wait_up(60)
        self.journeys.step()

    def show(self):
        print(f"\n{'place':16} {'call':7} {'N up to':>8} {'went on':>8} {'started anew':>13}")
        for (program, kind), outcomes in sorted(self.table.items()):
            print(f"{program:16} {kind:7} {self.furthest[program, kind]:8} {outcomes['went on']:8}"
                  f" {outcomes['started anew']:13}")
        starts = Counter(line[0] for line in self.instance.starts() if line[4] == "start")
        print(f"{len(self.journeys.done)} journeys done, {len(self.journeys.live)} not;"
              f" {len(starts)} agents started, {sum(count - 1 for count in starts.values())} of them twice")


def every_one(faults):
    for program in PLACES:
        for kind in KINDS:
            missed = 0
            for number in range(1, LAST[kind] + 1):
                missed = missed + 1 if faults.inject(program, kind, number) is None else 0
                if missed == 2:
                    break


def a_sample(faults, count):
    source = random.Random(SEED)
    for _ in range(count):
        faults.inject(source.choice(list(PLACES)), source.choice(list(KINDS)),
                      int(source.paretovariate(0.6)) % 60 + 1)


def test_a_call_fails_while_journeys_run(make_instance):
    instance = make_instance()
    journeys = Journeys(instance)
    faults = Faults(instance, journeys)
    instance.start(environment=faults.environment())
    if FAULTS == "all":
        every_one(faults)
    else:
        a_sample(faults, int(FAULTS))
    journeys.run_out(120)
    faults.show()
    for key in journeys.done:
        check_all(instance, key)
    assert faults.table, "no fault was reached"


# Red when the keeper executes although agent.pid or `started` is not on the disk, or when a status
# that cannot be written ends it.
@pytest.mark.parametrize("kind", ["write", "fsync", "rename"])
def test_a_call_of_the_keeper_fails(kind):
    outcomes = Counter()
    for number in range(1, 40):
        with Run("echo said; sleep 0.05") as run:
            faults = run.dir.with_name(run.dir.name + "-faults")
            faults.mkdir()
            (faults / "orch-keeper").write_text(f"{kind} {number} {KINDS[kind]}")
            subprocess.run([KEEPER, run.dir], timeout=20, check=False,
                           env={**os.environ, "LD_PRELOAD": str(SHIM), "FAULT_DIR": str(faults)})
            time.sleep(0.2)
            hit = (faults / "hits").exists()
            shutil.rmtree(faults)
            if not hit:
                break
            if run.starts():
                status = run.status(10)
                assert status["exit_code"] == 0, (kind, number, status)
                outcomes["went on"] += 1
            else:
                # nothing was executed: a keeper that comes now does it, unless `started` says otherwise
                outcomes["not begun"] += 1
                begun = (run.dir / "started").exists()
                run.start()
                time.sleep(0.3)
                assert run.starts() == (0 if begun else 1), (kind, number)
    print(f"\norch-keeper {kind}: {number - 1} reached, {dict(outcomes)}")
    assert outcomes and number < 39
