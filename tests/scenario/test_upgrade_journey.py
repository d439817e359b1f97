"""kill -USR2 with a new binary in place while an agent runs: the same children, nothing lost."""

import shutil
import signal

from harness import BIN, ROOT, SERVICES, alive
from invariants import check_all


def with_own_programs(instance):
    """Programs of its own, which can be replaced as an installation does it: by rename."""
    instance.bin = instance.dir / "tree/build/bin"
    shutil.copytree(BIN, instance.bin)
    (instance.dir / "tree/agents").symlink_to(ROOT / "agents")
    return instance


def replace_supervisor(instance, text=None):
    beside = instance.bin / "orchestrator.new"
    if text is None:
        shutil.copy(BIN / "orchestrator", beside)
    else:
        beside.write_text(text)
        beside.chmod(0o755)
    beside.rename(instance.bin / "orchestrator")


def upgrades(instance):
    return instance.state().get("upgrades", 0)


def test_upgrade_while_an_agent_runs(make_instance):
    """Mutation: close-on-exec left on the services' descriptors, or no adoption of the pids."""
    instance = with_own_programs(make_instance(plan={"developer": {"sleep_s": 4}})).start()
    key = instance.new_issue(1)
    instance.approve(key)
    instance.wait_for(lambda: instance.stage(key) == "development" and instance.agents(), 30,
                      "the developer runs")
    before = {name: instance.pid(name) for name in SERVICES}
    (run, agent), = instance.agents().items()
    replace_supervisor(instance)
    instance.process.send_signal(signal.SIGUSR2)
    instance.wait_for(lambda: upgrades(instance) == 1, 20, "the new program runs")
    assert {name: instance.pid(name) for name in SERVICES} == before
    assert all(alive(pid) for pid in before.values()) and instance.agents() == {run: agent}

    replace_supervisor(instance, "#!/bin/sh\nexit 1\n")
    instance.process.send_signal(signal.SIGUSR2)
    instance.wait_for(lambda: "refused" in log_of_supervisor(instance), 20, "it is said")
    assert upgrades(instance) == 1 and instance.process.poll() is None
    assert {name: instance.pid(name) for name in SERVICES} == before

    instance.wait_stage(key, "done")
    check_all(instance, key)
    assert {name: instance.pid(name) for name in SERVICES} == before
    assert instance.stop() == 0


def log_of_supervisor(instance):
    return (instance.home / "log/supervisor/current").read_text()
