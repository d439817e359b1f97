"""Hung is dead: a stopped service is found by the ping and restarted; everything goes on."""

import signal
import time

import pytest

from harness import SERVICES, alive
from invariants import check_all


@pytest.mark.parametrize("name", SERVICES)
def test_stopped_service_is_found(make_instance, name):
    """Mutation: writing t instead of k to supervise/control leaves it stopped for ever."""
    instance = make_instance(plan={"developer": {"sleep_s": 1}}).start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.parked(key) == "approval", 30, "approval is asked for")
    time.sleep(4)  # a service that has just started is not pinged to death
    pid = instance.kill(name, signal.SIGSTOP)
    instance.wait_for(lambda: not alive(pid), 20, f"{name} is found and ended")
    instance.wait_for(lambda: instance.pid(name) not in (None, pid)
                      and instance.service(name).get("ready"), 10, f"{name} is back")
    instance.approve(key)
    instance.wait_stage(key, "done")
    check_all(instance, key)
