"""A project's deploy hook: what production is told, once, and what becomes of each of its ends.

Mutations, each red, are named at their tests."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import alive, git
from invariants import PLAIN, check_jobs

# A line per call: verb, environment, and the files that it finds in BUILD_CONTEXT.
HOOK = '''#!/usr/bin/python3
import json, os, sys, time
from pathlib import Path
folder, verb = Path(__file__).parent, sys.argv[1] if len(sys.argv) > 1 else Path(__file__).name
context = Path(os.environ["BUILD_CONTEXT"])
files = {str(path.relative_to(context)): path.read_text() for path in sorted(context.rglob("*")) if path.is_file()}
line = {"verb": verb, "pid": os.getpid(), "env": dict(os.environ), "cwd": os.getcwd(), "files": files,
        "uid": os.getuid(), "argv": sys.argv[1:]}
fd = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
os.write(fd, (json.dumps(line) + "\\n").encode())
os.close(fd)
number = sum(json.loads(row)["verb"] == verb for row in (folder / "calls").read_text().splitlines())
plan = json.loads((folder / "plan.json").read_text()).get(verb, {})
print(f"{verb} number {number} of {os.environ['GIT_SHA']}", flush=True)
print(plan.get("err", ""), file=sys.stderr, flush=True)
while "until" in plan and not (folder / plan["until"]).exists():
    time.sleep(0.02)
sys.exit((plan.get("exits", []) + [0] * number)[number - 1])
'''

PRODUCTION = {"target_image": "shop:live", "target_service": "shop", "target_port": 8080,
              "compose_profile": "live"}
CONTRACT = ["PATH", "HOME", "LANG", "BUILD_CONTEXT", "GIT_SHA"]


class Hook:
    """The program, its calls and its plan {verb: {exits, until, err}}."""

    def __init__(self, folder, plan=None):
        self.dir = Path(folder)
        self.dir.mkdir()
        self.program, self.check = self.dir / "hook", self.dir / "check"
        for path in (self.program, self.check):
            path.write_text(HOOK)
            path.chmod(0o755)
        self.plan(plan or {})

    def plan(self, plan):
        new = self.dir / "plan.new"
        new.write_text(json.dumps(plan))
        new.rename(self.dir / "plan.json")

    def calls(self, verb=None):
        try:
            rows = [json.loads(row) for row in (self.dir / "calls").read_text().splitlines()]
        except FileNotFoundError:
            return []
        return [row for row in rows if verb in (None, row["verb"])]

    def go(self):
        (self.dir / "go").touch()


@pytest.fixture
def begin(make_instance):
    """An instance with a hook, its task at work; (instance, hook, key)."""
    def make(plan=None, keys=None, agents=None, environment=None, begun=True, check=False, **project):
        instance = make_instance(keys=keys, plan=agents)
        hook = Hook(instance.dir / "hook", plan)
        config = json.loads(instance.config.read_text())
        programs = {"deploy_hook": str(hook.program), "staging_check": str(hook.check) if check else ""}
        config["projects"][0].update({**programs, **project})
        instance.config.write_text(json.dumps(config))
        instance.start(environment=environment)
        key = instance.new_issue(1) if begun else None
        if begun:
            instance.approve(key, 60)
        return instance, hook, key
    return make


def stages(instance, key):
    return [row["to"] for row in instance.task(key)["transitions"]][1:]


def said(instance, key, words):
    return sum(words in comment["body"] for comment in instance.issue(key)["comments"])


def wait_said(instance, key, words):
    """Once, when what is ordered has been delivered."""
    instance.wait_for(lambda: said(instance, key, words), 30, f"said: {words}")
    assert said(instance, key, words) == 1


def blocked(instance, key, seconds=60):
    instance.wait_for(lambda: (instance.task(key).get("blocked") or {}).get("reason"), seconds,
                      f"{key} is blocked")
    return instance.task(key)["blocked"]["reason"]


def tree_files(instance, commit):
    names = git(instance.repo, "ls-tree", "-r", "--name-only", commit).splitlines()
    return {name: subprocess.run(["git", "-C", str(instance.repo), "show", f"{commit}:{name}"], check=True,
                                 capture_output=True, text=True).stdout for name in names}


def merges(instance):
    return git(instance.repo, "log", "--first-parent", "--merges", "--format=%H", "main").split()


def deploy_log(instance):
    [path] = (instance.home / "artefacts").glob("*/14-deploy-log.md")
    return path.read_text()


def contexts(instance):
    return list(instance.home.glob("runs/*/context*"))


def keeper_of(instance, folder):
    """Of a hook at work."""
    found = [path for path in instance.home.glob(f"runs/*/{folder}/agent.pid")
             if not (path.parent / "status").exists()]
    assert len(found) == 1, found
    return json.loads(found[0].read_text())["keeper_pid"]


def work_on(instance, hook, verb, seconds=60):
    instance.wait_for(lambda: hook.calls(verb), seconds, f"{verb} is called")
    return hook.calls(verb)[-1]["pid"]


def push_to_main(instance, name):
    clone = instance.dir / "hand"
    git(instance.dir, "clone", "-q", str(instance.repo), str(clone))
    (clone / name).write_text("by hand\n")
    git(clone, "add", "-A")
    git(clone, "-c", "user.name=ada", "-c", "user.email=ada@example.org", "commit", "-qm", name)
    git(clone, "push", "-q", "origin", "main")


# Red: TARGET_* left out of --deploy; the branch's head checked out and not the merge; the context kept;
# a variable of ours handed on.
def test_delivered_by_its_hook(begin):
    instance, hook, key = begin(environment={"ORCH_GITEA__TOKEN": "t0psecret", "SECRET_OF_OURS": "x"},
                                agents={"tester": {"until": "go"}}, **PRODUCTION)
    instance.wait_for(lambda: instance.stage(key) == "testing" and instance.agents(), 60, "testing")
    push_to_main(instance, "meanwhile.txt")
    (instance.agent_dir / "go").touch()
    instance.wait_stage(key, "done", 60)
    assert stages(instance, key) == PLAIN
    check_jobs(instance.task(key))
    kinds = [job["kind"] for job in instance.task(key)["jobs"]]
    assert kinds[-4:] == ["merge-gate", "merge", "deploy", "finalizer"]
    [call] = hook.calls()
    [merge] = merges(instance)
    env = call["env"]
    context = env.pop("BUILD_CONTEXT")
    assert call["argv"] == ["--deploy"] and call["cwd"] == context and call["uid"] == os.getuid()
    assert env.pop("GIT_SHA") == merge == git(instance.repo, "rev-parse", "main")
    production = {name: env.pop(name) for name in list(env) if name.startswith(("TARGET", "COMPOSE"))}
    assert production == {"TARGET_IMAGE": "shop:live", "TARGET_SERVICE": "shop", "TARGET_PORT": "8080",
                          "COMPOSE_PROFILE": "live"}
    assert set(env) <= {"PATH", "HOME", "LANG", "LC_CTYPE"}, env  # LC_CTYPE is Python's own
    assert call["files"] == tree_files(instance, merge) and "meanwhile.txt" in call["files"]  # and no .git
    assert not contexts(instance)
    log = deploy_log(instance)
    assert "deploy_status: SUCCESS" in log and f"merge_commit: {merge}" in log
    assert "`--deploy` of the deploy hook: exit status 0" in log and f"    --deploy number 1 of {merge}" in log
    assert said(instance, key, "t0psecret") == 0


# Red: retry.c that takes no "fail" of a deploy for an end; the findings without the log.
def test_a_clean_failure_goes_back_to_the_developer(begin):
    instance, hook, key = begin({"--deploy": {"exits": [1], "err": "the database said: no such column"}})
    instance.wait_stage(key, "done", 90)
    assert stages(instance, key) == PLAIN[:-1] + ["development"] + PLAIN[3:]
    first, second = hook.calls("--deploy")
    assert first["env"]["GIT_SHA"] != second["env"]["GIT_SHA"]
    assert [second["env"]["GIT_SHA"], first["env"]["GIT_SHA"]] == merges(instance)
    runs = [line[0] for line in instance.starts() if line[2] == "developer" and line[4] == "start"]
    prompts = [(instance.agent_dir / "prompts" / run).read_text() for run in runs]
    assert "no such column" not in prompts[0]
    assert f"--deploy number 1 of {first['env']['GIT_SHA']}\nthe database said: no such column" in prompts[1]
    pulls = [json.loads(path.read_text()) for path in (instance.repo / "pull-requests").glob("*.json")]
    assert sorted(pull["merge_commit"] for pull in pulls) == sorted(merges(instance))
    assert all(pull["merged"] for pull in pulls) and len(pulls) == 2
    wait_said(instance, key, "rollback 1 of 3")


# Red: fail() that repeats a deploy as long as there are attempts; retry that orders a merge, or the
# finalizer.
@pytest.mark.parametrize("code", [2, 7])
def test_a_dirty_failure_waits_for_a_person(begin, code):
    instance, hook, key = begin({"--deploy": {"exits": [code], "err": "half of it is up"}})
    reason = blocked(instance, key)
    assert reason.startswith("needs-person: ") and f"exit status {code}" in reason
    assert "needs a person" in reason
    assert len(hook.calls("--deploy")) == 1 and "deploy_status: FAILED" in deploy_log(instance)
    wait_said(instance, key, "half of it is up")
    assert not contexts(instance)
    time.sleep(3)  # the reconciler's passes order nothing
    assert len(hook.calls()) == 1
    instance.must("POST", f"/tasks/{key}/retry", {"actor": "ada"})
    instance.wait_stage(key, "done", 60)
    assert len(hook.calls("--deploy")) == 2 and len(merges(instance)) == 1
    assert "deploy_status: SUCCESS" in deploy_log(instance)


# Red: `deployed` not given, or not looked at: the last call is of the older merge.
def test_nothing_older_is_deployed_over_a_later_one(begin):
    """Blocked with its merge made, it loses its lease to another task, whose deploy contains it."""
    instance, hook, key = begin({"--deploy": {"exits": [2]}}, keys={"merge_gate": {"lease_ttl_s": 1},
                                                                    "serial_gate": {"enabled": False}})
    assert blocked(instance, key).startswith("needs-person: ")
    other = instance.new_issue(2)
    instance.approve(other, 60)
    instance.wait_stage(other, "done", 90)
    first, second = [call["env"]["GIT_SHA"] for call in hook.calls("--deploy")]
    assert git(instance.repo, "merge-base", first, second) == first, "the later one contains it"
    instance.must("POST", f"/tasks/{key}/retry", {"actor": "ada"})
    instance.wait_stage(key, "done", 60)
    assert [call["env"]["GIT_SHA"] for call in hook.calls("--deploy")] == [first, second]
    log = (instance.home / "artefacts" / "1" / "14-deploy-log.md").read_text()
    assert "deploy_status: SUCCESS" in log and second in log and "was not called" in log


# Red: the repository not opened by a runner that finds the build context of its predecessor there.
def test_the_runner_is_killed_before_a_later_deploy(begin):
    instance, hook, first = begin()
    instance.wait_stage(first, "done", 60)
    (instance.crash_dir / "hook-before-start").touch()
    key = instance.new_issue(2)
    instance.approve(key, 60)
    instance.wait_stage(key, "done", 60)
    assert not (instance.crash_dir / "hook-before-start").exists()
    assert [call["env"]["GIT_SHA"] for call in hook.calls("--deploy")] == list(reversed(merges(instance)))


def test_one_that_takes_too_long(begin):
    instance, hook, key = begin({"--deploy": {"until": "never"}},
                                keys={"agent": {"kill_grace_seconds": 1,
                                                "timeout_overrides": {"deployer": 2}}})
    reason = blocked(instance, key)
    assert reason.startswith("needs-person: ") and "longer than it may" in reason
    assert len(hook.calls()) == 1


# Red: a folder of each runner's own for the call.
@pytest.mark.parametrize("point", [None, "hook-before-start", "hook-after-start", "hook-after-end",
                                   "run-before-result", "run-after-result"])
def test_the_runner_is_killed_and_the_hook_goes_on(begin, point):
    instance, hook, key = begin({"--deploy": {"until": "go"}}, begun=False)
    key = instance.new_issue(1)
    if point and point.startswith("hook"):
        (instance.crash_dir / point).touch()
    instance.approve(key, 60)
    pid = work_on(instance, hook, "--deploy")
    if point is None:
        instance.kill("runner")
    elif point.startswith("run"):
        (instance.crash_dir / point).touch()
    instance.wait_up(30)
    assert alive(pid)
    hook.go()
    instance.wait_stage(key, "done", 60)
    assert point is None or not (instance.crash_dir / point).exists()
    assert len(hook.calls()) == 1 and len(merges(instance)) == 1
    wait_said(instance, key, "\u03a3")


@pytest.mark.parametrize("name", ["scheduler", "supervisor"])
def test_another_is_killed_while_the_hook_works(begin, name):
    instance, hook, key = begin({"--deploy": {"until": "go"}})
    work_on(instance, hook, "--deploy")
    instance.kill(name)
    if name == "supervisor":
        instance.start()
    else:
        instance.wait_up(30)
    hook.go()
    instance.wait_stage(key, "done", 60)
    assert len(hook.calls()) == 1


# Red: a lost deploy called lost (it is begun again); the answer of --health taken for good whatever it
# is; TARGET_* left out of --health.
@pytest.mark.parametrize("healthy", [True, False])
def test_its_keeper_is_killed(begin, healthy):
    instance, hook, key = begin({"--deploy": {"until": "never"},
                                 "--health": {"exits": [] if healthy else [1], "err": "HTTP 503"}}, **PRODUCTION)
    pid = work_on(instance, hook, "--deploy")
    os.kill(keeper_of(instance, "hook"), signal.SIGKILL)
    if healthy:
        instance.wait_stage(key, "done", 60)
        assert "`--health` of the deploy hook: exit status 0" in deploy_log(instance)
    else:
        reason = blocked(instance, key)
        assert reason.startswith("needs-person: ") and "keeper" in reason and "--health" in reason
        wait_said(instance, key, "HTTP 503")
    deploy, health = hook.calls()
    assert (deploy["verb"], health["verb"]) == ("--deploy", "--health") and not alive(pid)
    keys = [name for name in CONTRACT if name in health["env"]]
    assert keys == CONTRACT and health["env"]["TARGET_SERVICE"] == "shop"
    assert health["env"]["GIT_SHA"] == deploy["env"]["GIT_SHA"] == merges(instance)[0]
    if not healthy:
        hook.plan({})
        instance.must("POST", f"/tasks/{key}/retry", {"actor": "ada"})
        instance.wait_stage(key, "done", 60)
        assert len(hook.calls("--deploy")) == 2 and len(merges(instance)) == 1


# Red: refuse_misfit that keeps its class: what may be tried again is.
def test_its_project_is_gone_for_a_while(begin):
    instance, hook, key = begin({"--deploy": {"until": "go"}})
    work_on(instance, hook, "--deploy")
    instance.stop()
    text = instance.config.read_text()
    config = json.loads(text)
    config["projects"][0]["key"] = "OTHER"
    instance.config.write_text(json.dumps(config))
    instance.start()
    instance.wait_for(lambda: instance.rows("SELECT 1 FROM agent_runs r JOIN jobs j ON j.id = r.job WHERE"
                                            " j.kind = 'deploy' AND r.state = 'ended'"), 30, "it is given up")
    instance.stop()
    instance.config.write_text(text)
    hook.go()
    instance.start()
    assert blocked(instance, key).startswith("needs-person: ") and len(hook.calls()) == 1
    instance.must("POST", f"/tasks/{key}/retry", {"actor": "ada"})
    instance.wait_stage(key, "done", 60)
    assert len(hook.calls()) == 2


# Red: is_deployed in rows.c that finds nothing (cancelled, and said to be not deployed).
def test_stop_after_the_deploy_and_before_it_is_recorded(begin):
    instance, hook, key = begin({"--deploy": {"until": "go"}})
    work_on(instance, hook, "--deploy")
    assert instance.http("POST", "/pause", {"actor": "ada"})[0] in (200, 202)
    hook.go()
    instance.wait_for(lambda: instance.rows("SELECT 1 FROM jobs WHERE kind = 'finalizer' AND"
                                            " state = 'queued'"), 30, "deployed, not recorded")
    instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})
    wait_said(instance, key, "STOP is noted")
    assert instance.stage(key) == "deploy"
    assert instance.http("POST", "/resume", {"actor": "ada"})[0] in (200, 202)
    instance.wait_stage(key, "done", 60)
    wait_said(instance, key, "STOP came too late: deployed")
    assert not said(instance, key, "not deployed")


# Red: JOB_DEPLOY not critical (cancelled under the hook's hands); a failure that blocks the task.
@pytest.mark.parametrize("code", [0, 1, 2])
def test_stop_while_the_hook_works(begin, code):
    instance, hook, key = begin({"--deploy": {"until": "go", "exits": [code], "err": "half of it is up"}})
    pid = work_on(instance, hook, "--deploy")
    instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})
    wait_said(instance, key, "STOP is noted")
    assert alive(pid)
    hook.go()
    instance.wait_stage(key, "cancelled" if code else "done", 60)
    merge = merges(instance)[0]
    if code:
        wait_said(instance, key, f"Merged as `{merge}`, not deployed: ")
        assert said(instance, key, "half of it is up") == 1
    else:
        wait_said(instance, key, f"STOP came too late: deployed as `{merge}`")
        assert not said(instance, key, "not deployed")
    assert len(hook.calls()) == 1
    alerts = [row[0] for row in instance.rows("SELECT text FROM alerts WHERE cleared_at IS NULL")]
    assert len([text for text in alerts if "needs a person" in text]) == (code == 2)


def test_stop_during_the_merge_spares_the_hook(begin):
    """Deferred, and applied when the merge has ended."""
    instance, hook, key = begin(agents={"tester": {"until": "go"}})
    instance.wait_for(lambda: instance.stage(key) == "testing" and instance.agents(), 60, "testing")
    (instance.agent_dir / "go").touch()
    stop_while(instance, key, "merge")
    instance.wait_stage(key, "cancelled", 60)
    merge = merges(instance)[0]
    wait_said(instance, key, f"Merged as `{merge}`, not deployed.")
    assert not hook.calls()


def stop_while(instance, key, kind):
    """STOP, while a job of this kind is running: the runner is held from taking it up."""
    def running():
        return any(job["kind"] == kind and job["state"] == "running" for job in instance.task(key)["jobs"])
    instance.wait_for(lambda: instance.stage(key) in ("deploy-staging", "deploy") or running(), 60, kind, 0.001)
    pid = instance.pid("runner")
    for _ in range(2000):
        os.kill(pid, signal.SIGSTOP)
        if running():
            break
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.001)
    assert running(), instance.task(key)["jobs"]
    instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})
    os.kill(pid, signal.SIGCONT)


# Red: critical_running true for what is parked.
def test_stop_while_a_confirmation_is_awaited(begin):
    instance, hook, key = begin(confirm_deploy=True)
    instance.wait_for(lambda: instance.parked(key) == "confirm", 60, "it waits for Confirm Deploy")
    assert not merges(instance) and not hook.calls()
    instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})
    instance.wait_stage(key, "cancelled", 30)
    assert not instance.rows("SELECT * FROM leases")
    wait_said(instance, key, "Stopped by ada.")
    assert not merges(instance) and not hook.calls()


def test_confirmed(begin):
    instance, hook, key = begin(confirm_deploy=True)
    instance.wait_for(lambda: instance.parked(key) == "confirm", 60, "it waits for Confirm Deploy")
    instance.must("POST", f"/tasks/{key}/confirm-deploy", {"actor": "ada"})
    instance.wait_stage(key, "done", 60)
    assert len(hook.calls("--deploy")) == 1


# Red: a hook that is not there called a failure of the task.
@pytest.mark.parametrize("how", ["missing", "no program", "relative", "no interpreter"])
def test_a_hook_that_cannot_be_called(begin, how):
    instance, hook, key = begin(keys={"usage_limit": {"probe_s": 2}}, begun=False,
                                **({"deploy_hook": "deploy/hook"} if how == "relative" else {}))
    if how == "missing":
        hook.program.rename(hook.dir / "elsewhere")
    elif how == "no program":
        hook.program.chmod(0o644)
    elif how == "no interpreter":
        hook.program.write_text("#!/no/such/python\n")
    key = instance.new_issue(1)
    instance.approve(key, 60)
    words = {"missing": "is not there", "no program": "no file that may be executed",
             "relative": "neither an absolute path", "no interpreter": "could not be executed"}[how]

    def waits():
        return any(words in (job.get("reason") or "") for job in instance.task(key)["jobs"]
                   if job["kind"] == "deploy")
    instance.wait_for(waits, 60, "the job says what is missing")
    task = instance.task(key)
    assert task["stage"] == "deploy" and not task["blocked"] and len(merges(instance)) == 1
    if how == "relative":
        instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})  # nothing runs: at once
        instance.wait_stage(key, "cancelled", 30)
        wait_said(instance, key, "not deployed")
        return
    if how == "missing":
        (hook.dir / "elsewhere").rename(hook.program)
    hook.program.write_text(HOOK)
    hook.program.chmod(0o755)
    instance.wait_stage(key, "done", 60)
    assert len(hook.calls("--deploy")) == 1 and len(merges(instance)) == 1


# ---- staging ----

ON = {"staging": {"enabled": True, "repos": "*"}}


# Red: TARGET_* given to --build-staging; the deployer before the stage job; its prompt without the output.
def test_staging_is_built_and_checked_before_it_is_judged(begin):
    instance, hook, key = begin({"check": {"err": "GET /health 200"}}, keys=ON, check=True,
                                **PRODUCTION)
    instance.wait_stage(key, "done", 60)
    build, check, deploy = hook.calls()
    assert [build["argv"], check["argv"], deploy["argv"]] == [["--build-staging"], [], ["--deploy"]]
    [merge] = merges(instance)
    head = build["env"]["GIT_SHA"]
    assert check["env"] == build["env"] and head != merge
    assert [name for name in build["env"] if name.startswith(("TARGET", "COMPOSE", "SOURCE"))] == []
    assert build["files"] == tree_files(instance, head) and not contexts(instance)
    kinds = [job["kind"] for job in instance.task(key)["jobs"]][-6:]
    assert kinds == ["stage", "agent", "merge-gate", "merge", "deploy", "finalizer"]
    [run] = [line[0] for line in instance.starts() if line[2] == "deployer" and line[4] == "start"]
    prompt = (instance.agent_dir / "prompts" / run).read_text()
    assert f"`--build-staging` of `{head}` ended with exit status 0" in prompt
    assert f"--build-staging number 1 of {head}" in prompt and "GET /health 200" in prompt
    # the deployer's is the first run of the entry all the same: an old 15 would be removed
    assert instance.rows("SELECT started_at FROM agent_runs r JOIN jobs j ON j.id = r.job"
                         " WHERE j.kind = 'stage'") == [[None]]
    assert git(instance.repo, "cat-file", "-e", f"main:docs/work-items/{key}/15-staging-log.md") == ""


@pytest.mark.parametrize("red", ["--build-staging", "check"])
def test_a_red_staging_goes_back_to_the_developer(begin, red):
    instance, hook, key = begin({red: {"exits": [1], "err": "E: no such package"}}, keys=ON, check=True)
    instance.wait_stage(key, "done", 90)
    assert stages(instance, key) == PLAIN[:6] + ["development"] + PLAIN[3:]
    runs = [line[0] for line in instance.starts() if line[2] == "developer" and line[4] == "start"]
    prompts = [(instance.agent_dir / "prompts" / run).read_text() for run in runs]
    assert len(prompts) == 2 and "E: no such package" in prompts[1]
    assert len([line for line in instance.starts() if line[2] == "deployer" and line[4] == "start"]) == 1
    assert len(hook.calls("--deploy")) == 1 and len(merges(instance)) == 1


def test_staging_without_a_hook(make_instance):
    instance = make_instance(keys=ON).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_stage(key, "done", 60)
    [run] = [line[0] for line in instance.starts() if line[2] == "deployer" and line[4] == "start"]
    assert "There is no staging environment" in (instance.agent_dir / "prompts" / run).read_text()
    assert "stage" not in [job["kind"] for job in instance.task(key)["jobs"]]
    assert "Delivered by its merge" in deploy_log(instance)


# Red: a lost staging build that counts as an attempt.
def test_a_lost_staging_build_is_built_again(begin):
    instance, hook, key = begin({"--build-staging": {"until": "go"}}, keys=ON)
    work_on(instance, hook, "--build-staging")
    os.kill(keeper_of(instance, "hook"), signal.SIGKILL)
    hook.go()
    instance.wait_stage(key, "done", 60)
    assert len(hook.calls("--build-staging")) == 2 and not hook.calls("--health")
    assert instance.rows("SELECT attempt FROM jobs WHERE kind = 'stage'") == [[1]]


# Red: a staging build that is critical.
def test_stop_while_staging_is_built(begin):
    instance, hook, key = begin({"--build-staging": {"until": "never"}}, keys=ON)
    pid = work_on(instance, hook, "--build-staging")
    instance.must("POST", f"/tasks/{key}/stop", {"actor": "ada"})
    instance.wait_stage(key, "cancelled", 30)
    instance.wait_for(lambda: not alive(pid), 30, "the build is ended")
    instance.wait_for(lambda: not [job for job in instance.task(key)["jobs"]
                                   if job["state"] in ("queued", "running")], 30, "the cleanup is done")
    assert not merges(instance) and not contexts(instance)
