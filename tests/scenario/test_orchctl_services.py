"""orchctl restart and upgrade: they wait until it is so, or say that it is not."""

import json
import shutil
import signal
import subprocess

import pytest

import harness
from harness import SERVICES, alive
from orchctl_kit import DONE, NOT_FOUND, REFUSED, orchctl, parsed, text


@pytest.fixture
def own_programs(tmp_path, monkeypatch):
    """Programs that a test may replace."""
    folder = tmp_path / "bin"
    shutil.copytree(harness.BIN, folder)
    monkeypatch.setattr(harness, "BIN", folder)
    return folder


def replace(path, content):
    """By rename: the old program may run."""
    new = path.with_name("new")
    new.write_text(content)
    new.chmod(0o755)
    new.rename(path)


def test_each_service_is_back_when_restart_returns(make_instance):
    """Mutation: returning once the signal is sent shows the old pid here."""
    instance = make_instance().start()
    for name in SERVICES:
        before = instance.pid(name)
        answer = parsed(instance, "restart", name)
        assert answer["pid_before"] == before and answer["pid"] != before
        assert alive(answer["pid"]) and not alive(before)
        assert "restarted in" in text(instance, "restart", name)
    assert instance.health() == 200


def test_a_stopped_service_is_restarted(make_instance):
    instance = make_instance(keys={"reaper": {"ping_s": 60}}).start()
    before = instance.kill("monitor", signal.SIGSTOP)
    assert parsed(instance, "restart", "monitor")["pid"] != before


def test_one_that_does_not_come_back_is_said(own_programs, make_instance):
    """Mutation: without the look at the supervisor's record this takes 40 s."""
    instance = make_instance().start()
    replace(own_programs / "orch-monitor", "#!/bin/sh\nexit 3\n")
    said = text(instance, "restart", "monitor", code=REFUSED, timeout=30)
    assert "monitor was told to restart" in said and "exit 3" in said and "orchctl tail monitor" in said
    assert instance.health() == 200


def test_upgrade_restarts_all_but_what_is_down(make_instance):
    instance = make_instance(plan={"analyst": {"sleep_s": 4}}).start()
    instance.new_issue(1)
    instance.wait_for(instance.agents, 20, "an agent works")
    agents = instance.agents()
    subprocess.run(["sv", "down", instance.run_dir / "sv/monitor"], check=True, capture_output=True)
    instance.wait_for(lambda: not instance.service("monitor").get("pid"), 20, "monitor is down")
    before = {name: instance.pid(name) for name in ["supervisor", *SERVICES]}
    answer = parsed(instance, "upgrade")
    assert answer["supervisor_pid"] == before["supervisor"]
    assert {row["service"] for row in answer["services"]} == set(SERVICES) - {"monitor"}
    assert all(row["pid"] != before[row["service"]] for row in answer["services"])
    assert instance.agents() == agents, "the agent runs on"
    assert not instance.service("monitor").get("pid")
    instance.wait_for(lambda: instance.parked("DEMO-1"), 30, "its result is taken")
    assert [run["attempt"] for run in instance.task("DEMO-1")["runs"]] == [1]


def test_a_program_that_cannot_start_is_refused(own_programs, make_instance):
    instance = make_instance().start()
    before = {name: instance.pid(name) for name in SERVICES}
    replace(own_programs / "orchestrator", "#!/bin/sh\necho broken >&2\nexit 7\n")
    said = text(instance, "upgrade", code=REFUSED)
    assert "goes on with the old program" in said
    assert {name: instance.pid(name) for name in SERVICES} == before


def test_a_dead_supervisors_pid_is_not_signalled(make_instance):
    """Its file stays, and its pid may be anybody's by now. Mutation: trusting the file kills the
    sleeper, which does not catch SIGUSR2."""
    instance = make_instance().start()
    instance.kill("supervisor")
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        path = instance.run_dir / "supervisor.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "pid": sleeper.pid}))
        assert "no supervisor runs" in text(instance, "upgrade", code=3)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_no_such_service(make_instance):
    instance = make_instance()
    done = orchctl(instance, "restart", "nonsense")
    assert done.returncode == NOT_FOUND and b"scheduler" in done.stderr
    assert orchctl(instance, "version").returncode == DONE
