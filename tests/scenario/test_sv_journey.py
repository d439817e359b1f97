"""Who knows runit finds their way: Debian's own sv on the running system, and runsvdir in its place."""

import os
import shutil
import signal
import subprocess

import pytest

from harness import ROOT, SERVICES, alive
from invariants import check_all

pytestmark = pytest.mark.skipif(not shutil.which("sv") or not shutil.which("runsvdir"),
                                reason="runit is not installed")


def sv(instance, *arguments):
    done = subprocess.run(["sv", *arguments], capture_output=True, text=True, timeout=30, check=False,
                          env={**os.environ, "SVDIR": str(instance.run_dir / "sv")})
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def test_sv_in_the_middle_of_a_journey(make_instance):
    """Restarts that were asked for cost no agent and no event."""
    instance = make_instance(plan={"developer": {"until": "go"}}).start()
    key = instance.new_issue(1)
    instance.approve(key)
    instance.wait_for(lambda: instance.stage(key) == "development" and instance.agents(), 30,
                      "the developer runs")
    agents = instance.agents()
    for name in SERVICES:
        assert sv(instance, "status", name).startswith("run: ")
    runner = instance.pid("runner")
    assert sv(instance, "restart", "runner").startswith("ok: run: ")
    instance.wait_for(lambda: instance.pid("runner") not in (None, runner), 10, "another runner")
    scheduler = instance.pid("scheduler")
    sv(instance, "down", "scheduler")
    instance.wait_for(lambda: sv(instance, "status", "scheduler").startswith("down: "), 10, "down")
    assert not alive(scheduler)
    instance.wait_for(lambda: instance.health() == 503, 10, "it is said")
    sv(instance, "up", "scheduler")
    notifier = instance.pid("notifier")
    sv(instance, "term", "notifier")
    instance.wait_for(lambda: instance.pid("notifier") not in (None, notifier), 10, "back")
    sv(instance, "-v", "down", "monitor")
    sv(instance, "-v", "once", "monitor")
    instance.kill("monitor")
    instance.wait_for(lambda: sv(instance, "status", "monitor").startswith("down: "), 10,
                      "once is once")
    assert instance.agents() == agents
    (instance.agent_dir / "go").touch()
    sv(instance, "up", "monitor")
    instance.wait_stage(key, "done")
    check_all(instance, key)
    for name in ("runner", "scheduler", "notifier"):
        assert instance.service(name)["last_obituary"]["asked"] is True


def test_runsvdir_runs_the_same_services(make_instance):
    """No supervisor of ours: the same tree, the whole journey."""
    instance = make_instance(plan={"reviewer": {"reject": 1}})
    tree = instance.run_dir / "sv"
    shutil.copytree(ROOT / "sv", tree, symlinks=True)
    environment = {**{name: value for name, value in os.environ.items()
                      if not name.startswith("ORCH_")},
                   "PATH": f"{instance.bin}:{os.environ['PATH']}",
                   "ORCH_CONFIG": str(instance.config), "ORCH_RUN_DIR": str(instance.run_dir)}
    log = open(instance.dir / "supervisor.log", "ab")
    process = subprocess.Popen(["runsvdir", str(tree)], env=environment, stdout=log, stderr=log,
                               stdin=subprocess.DEVNULL, start_new_session=True)
    log.close()
    try:
        instance.wait_up()
        key = instance.new_issue(1)
        instance.approve(key)
        instance.wait_stage(key, "development")
        os.kill(int((tree / "runner/supervise/pid").read_text()), signal.SIGKILL)
        instance.wait_stage(key, "done")
        check_all(instance, key, rejections=1)
    finally:
        pids = [int((tree / name / "supervise/pid").read_text() or 0) for name in SERVICES]
        process.send_signal(signal.SIGHUP)  # runsvdir: TERM to every runsv, then its own end
        process.wait(30)
        for pid in pids:
            instance.wait_for(lambda pid=pid: not alive(pid), 20, "the services end")
