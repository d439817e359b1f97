"""One after another on one repository, each on the work of the one before.

Mutations, each red: the gate not asked (all three run at once); the branch cut when the task is made (it lacks
its predecessor's merge); a freeze that the claim does not ask; skip_blocked not asked, or taken for no gate
at all; a lock that both schedulers get."""

import subprocess
import time

from harness import BIN
from invariants import check_all


def reason(instance, key):
    queued = instance.http("GET", "/queue")[1]["queued"]
    return next((job["reason"] for job in queued if job["key"] == key), "")


def command(instance, path, **body):
    code, answer = instance.must("POST", path, {"actor": "ada", **body})
    assert code in (200, 202), (path, code, answer)


def contains(instance, key, other):
    """The branch stands on the other's work."""
    done = subprocess.run(["git", "-C", instance.repo, "cat-file", "-e",
                           f"{instance.task(key)['branch']}:greeting-{other}.txt"], check=False,
                          stderr=subprocess.DEVNULL)
    return done.returncode == 0


def test_three_created_at_once(make_instance):
    instance = make_instance(keys={"serial_gate": {"enabled": True, "repos": "*"}},
                             plan={"developer": {"sleep_s": 0.5}}).start()
    first, second, third = (instance.new_issue(number) for number in (1, 2, 3))
    instance.wait_for(lambda: instance.parked(first) == "approval", 60, "the first one begins")
    for key in (second, third):
        instance.wait_for(lambda: reason(instance, key).startswith(f"serial-gate: {first} "), 20, "it waits")
        assert not instance.task(key)["runs"]
    instance.approve(first, 60)
    instance.wait_stage(first, "done", 60)
    instance.wait_for(lambda: instance.parked(second) == "approval", 60, "the second one begins")
    assert reason(instance, third).startswith(f"serial-gate: {second} "), reason(instance, third)
    command(instance, "/serial-gate/freeze", repo="sample", reason="production is red")
    instance.approve(second, 60)  # what has begun goes on
    instance.wait_stage(second, "done", 60)
    assert contains(instance, second, first), "its branch was cut before its predecessor was merged"
    instance.wait_for(lambda: reason(instance, third).startswith("frozen"), 20, "the freeze stops it")
    time.sleep(1)
    assert not instance.task(third)["runs"]
    command(instance, "/serial-gate/unfreeze", repo="sample")
    instance.approve(third, 60)
    instance.wait_stage(third, "done", 60)
    assert contains(instance, third, second)
    for key in (first, second, third):
        check_all(instance, key)
    begun = [run["started_at"] for key in (first, second, third)
             for run in sorted(instance.task(key)["runs"], key=lambda run: run["started_at"] or "")
             if run["role"]]
    assert begun == sorted(begun), "one after another"


def test_one_that_is_blocked_holds_its_repository(make_instance):
    """Unfinished is unfinished; a stopped one is finished."""
    instance = make_instance(keys={"serial_gate": {"enabled": True, "repos": "*"}},
                             plan={"analyst": {"exit": 1}}).start()
    first = instance.new_issue(1)
    instance.wait_for(lambda: instance.task(first).get("blocked"), 60, "it is blocked")
    second = instance.new_issue(2)
    instance.wait_for(lambda: reason(instance, second).startswith(f"serial-gate: {first} "), 20, "it waits")
    instance.plan({})
    time.sleep(1)
    assert not instance.task(second)["runs"]
    command(instance, f"/tasks/{first}/stop")
    instance.wait_for(lambda: instance.parked(second) == "approval", 60, "the second one begins")


def test_one_that_is_blocked_may_be_passed(make_instance):
    """skip_blocked: a blocked or a parked one holds nobody up; one that works still does."""
    instance = make_instance(keys={"serial_gate": {"enabled": True, "repos": "*", "skip_blocked": True}},
                             plan={"analyst": {"exit": 1}}).start()
    first = instance.new_issue(1)
    instance.wait_for(lambda: instance.task(first).get("blocked"), 60, "it is blocked")
    instance.plan({"analyst": {"until": "go"}})
    second, third = instance.new_issue(2), instance.new_issue(3)
    instance.wait_for(lambda: instance.task(second).get("runs"), 30, "the second one passes the blocked one")
    instance.wait_for(lambda: reason(instance, third).startswith(f"serial-gate: {second} "), 20, "the third waits for it")
    (instance.agent_dir / "go").touch()
    instance.wait_for(lambda: instance.parked(third) == "approval", 60, "the third passes the parked one")
    assert instance.parked(second) == "approval" and instance.task(first)["blocked"]


def test_two_schedulers_started_together(make_instance):
    """One works, the other names it, is not ready and goes."""
    instance = make_instance(keys={"lock_wait_s": 1})
    command_line = [BIN / "orch-scheduler", "-c", instance.config]
    instance.run_dir.mkdir(mode=0o700, exist_ok=True)
    both = [subprocess.Popen(command_line, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end and all(one.poll() is None for one in both):
            time.sleep(0.02)
        gone = [one for one in both if one.poll() is not None]
        assert len(gone) == 1, [one.poll() for one in both]
        winner, = [one for one in both if one.poll() is None]
        said = gone[0].stderr.read()
        assert gone[0].returncode == 111, (gone[0].returncode, said)
        assert f"held by scheduler pid {winner.pid}" in said, said
        assert '"event":"ready"' not in said
        time.sleep(0.5)
        assert winner.poll() is None
    finally:
        for one in both:
            one.kill()
            one.wait()
            one.stderr.close()
