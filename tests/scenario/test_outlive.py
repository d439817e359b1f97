"""The agent outlives us: whoever is killed while it runs, the same process ends, one run is recorded,
the stage advances once. Seconds of the agent: ORCH_TEST_AGENT_S (6; the full form is 20)."""

import os
import signal
import time

import pytest

from harness import alive
from invariants import check_all

AGENT_S = float(os.environ.get("ORCH_TEST_AGENT_S", "6"))
EVERYBODY = ["ingress", "scheduler", "runner", "notifier", "reconciler", "reaper", "monitor"]


def kill_all(instance):
    pids = [instance.pid(name) for name in EVERYBODY]
    instance.kill("supervisor")
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it died with the supervisor
    instance.start()


def kill_supervisor(instance):
    pids = {name: instance.pid(name) for name in EVERYBODY}
    instance.kill("supervisor")
    instance.wait_for(lambda: not any(alive(pid) for pid in pids.values()), 5,
                      "no service outlives its supervisor")
    instance.start()


WAYS = {
    "runner": lambda instance: instance.kill("runner"),
    "scheduler": lambda instance: instance.kill("scheduler"),
    "supervisor": kill_supervisor,
    "all": kill_all,
    "one after another": lambda instance: [instance.kill("runner"), time.sleep(0.5),
                                           instance.kill("scheduler"), time.sleep(0.5),
                                           kill_supervisor(instance)],
}


@pytest.mark.parametrize("way", WAYS)
def test_agent_outlives(make_instance, way):
    """Mutations: PDEATHSIG on the keeper, or a keeper that keeps our log pipe, ends the agent here."""
    instance = make_instance(plan={"developer": {"sleep_s": AGENT_S, "until": "go"}}).start()
    key = instance.new_issue(1)
    instance.approve(key)
    instance.wait_for(lambda: instance.stage(key) == "development" and instance.agents(), 30,
                      "the developer runs")
    (run, pid), = instance.agents().items()
    WAYS[way](instance)
    assert alive(pid), "the agent is the same process"
    assert instance.agents() == {run: pid}
    (instance.agent_dir / "go").touch()
    instance.wait_stage(key, "done", AGENT_S + 60)
    ends = [line for line in instance.starts() if line[0] == run]
    assert [(line[1], line[4]) for line in ends] == [(str(pid), "start"), (str(pid), "end")]
    developers = [row for row in instance.task(key)["runs"] if row["role"] == "developer"]
    assert [row["id"] for row in developers] == [run]
    assert developers[0]["exit_code"] == 0
    check_all(instance, key)
