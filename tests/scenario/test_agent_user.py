"""agent.user: agents are processes of a user of their own, the workspaces are that user's, and what is ours
is closed to it. As root, and as a user of our own with the four capabilities (what the systemd unit and the
image give). Needs root to become others; skipped otherwise.

Mutations, each turns a test red: the keeper does not become the user, or keeps its capabilities; PDEATHSIG
set before the change of user; git in the workspace as ourselves; the runner without CAP_KILL; the
environment's HOME left ours; a supervisor that gives every service its capabilities; a runner that goes on
where the user cannot be had; agent_user_remove that trusts the owner of the top."""

import json
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness import BIN, ROOT, Instance, alive, git
from invariants import check_all

AGENT, SERVICE = "nobody", "daemon"  # every Debian has them
CAPABILITIES = "+setuid,+setgid,+chown,+kill"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


def id_of(name):
    return pwd.getpwnam(name).pw_uid


class OwnUser(Instance):
    """An instance whose programs other users can reach, with services as root or as SERVICE."""

    def __init__(self, services="root", user=AGENT, capabilities=CAPABILITIES, plan=None, **agent):
        super().__init__(plan=plan)
        self.services = services
        self.bin, self.sv = self.dir / "bin", self.dir / "sv"
        shutil.copytree(BIN, self.bin)
        shutil.copytree(ROOT / "sv", self.sv, symlinks=True)
        shutil.copytree(ROOT / "agents", self.dir / "agents")
        shutil.copytree(ROOT / "tests/agents", self.dir / "tools")
        config = json.loads(self.config.read_text())
        config["agent"].update({"user": user, **agent})
        config["projects"][0]["agent_command"] = [str(self.dir / "tools/prying_agent.py"),
                                                  str(self.agent_dir), *map(str, self.secrets())]
        self.config.write_text(json.dumps(config))
        self.config.chmod(0o600)
        self.dir.chmod(0o711)
        self.agent_dir.chmod(0o777)
        self.home.chmod(0o700)
        if services != "root":
            self.give_to(services, capabilities)

    def give_to(self, services, capabilities=CAPABILITIES):
        """All of it, as it is now, and whose programs run from now on."""
        for path in [self.dir, *self.dir.rglob("*")]:
            shutil.chown(path, id_of(services)) if not path.is_symlink() else None
        self.prefix = ["setpriv", f"--reuid={services}", f"--regid={services}", "--clear-groups",
                       *([f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
                         if capabilities else []), "--"]

    def secrets(self):
        run = [self.run_dir / f"{name}.ipc" for name in ("scheduler", "runner", "ingress")]
        home = [self.home / name for name in ("db/main.db", "db/inbox.db", "operator_token", "runs",
                                              "repos", "log", "forge", "lock", "sessions", "workspaces")]
        return [*run, *home, self.config, self.run_dir]

    def start(self, wait=True, environment=None):
        return super().start(wait, {"ORCH_AGENTS_DIR": str(self.dir / "agents"), "HOME": str(self.dir),
                                    **(environment or {})})

    def pried(self):
        return [json.loads(path.read_text()) for path in (self.agent_dir / "pried").iterdir()]

    def workspace(self, key):
        return next((self.home / "workspaces").glob(f"{key}_*"))

    def agent(self):
        self.wait_for(self.agents, 30, "an agent works")
        return list(self.agents().values())[0]

    def journey(self, number=1):
        key = self.new_issue(number)
        self.approve(key, 60)
        self.wait_stage(key, "done", 60)
        return key


@pytest.fixture
def own_user(request):
    made = []

    def make(*arguments, **named):
        made.append(OwnUser(*arguments, **named))
        return made[-1]
    yield make
    for instance in made:
        instance.close(keep=getattr(request.node, "failed", False))


def owners(path):
    return {os.lstat(each).st_uid for each in [path, *path.rglob("*")]}


@pytest.mark.parametrize("services", ["root", SERVICE])
def test_a_journey(own_user, services):
    instance = own_user(services, plan={"reviewer": {"reject": 1}}).start()
    key = instance.journey()
    check_all(instance, key, rejections=1)
    agent, ours = str(id_of(AGENT)), id_of(services)
    assert len(instance.pried()) == 7
    for seen in instance.pried():
        status = seen["status"]
        assert status["Uid"] == [agent] * 4 and status["Groups"] == []
        assert all(int(status[name][0], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
        assert status["NoNewPrivs"] == ["1"]
        assert seen["home"]["read"] and seen["home"]["write"] and seen["work"]["write"]
        home = str(instance.home / "agents/DEMO")
        assert seen["environment"]["HOME"] == home and seen["environment"]["USER"] == AGENT
        assert seen["environment"]["CLAUDE_CONFIG_DIR"] == f"{home}/.claude"
        open_to_it = {path for path, what in seen["paths"].items()
                      if what["seen"] and (what["read"] or what["write"])}
        assert not open_to_it, open_to_it
    assert owners(instance.workspace(key)) == {int(agent)}
    assert owners(instance.repo) == {ours}
    assert owners(instance.home / "runs") | owners(instance.home / "repos") == {ours}
    # an issue that ends by STOP: what the agents left is saved and removed
    other = instance.new_issue(2)
    instance.wait_for(lambda: instance.parked(other), 60, "it waits for approval")
    closed = instance.workspace(other) / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("theirs")
    shutil.chown(closed, AGENT)
    closed.chmod(0)
    # and one that was being taken back when we were killed: its top is ours, the rest is not yet
    half = Path(f"{instance.workspace(other)}.new")
    shutil.copytree(instance.workspace(other), half, symlinks=True)
    for path in half.rglob("*"):
        os.lchown(path, int(agent), int(agent))
    os.chown(half, ours, ours)
    instance.http("POST", f"/tasks/{other}/stop", {"actor": "ada"})
    instance.wait_for(lambda: not list((instance.home / "workspaces").glob(f"{other}_*")), 30,
                      "the workspace is gone")


# Red: the hook's keeper that starts it with what was lent to it, or as it starts an agent (no sudo then).
def test_a_deploy_hook_is_ours_and_has_no_capabilities(own_user):
    instance = own_user()
    instance.services = SERVICE
    hook = instance.dir / "tools/hook"
    hook.write_text(f"#!/bin/sh\nexec cat /proc/self/status > {instance.dir}/hook-status\n")
    hook.chmod(0o755)
    config = json.loads(instance.config.read_text())
    config["projects"][0]["deploy_hook"] = str(hook)
    instance.config.write_text(json.dumps(config))
    instance.give_to(SERVICE)
    instance.start()
    instance.journey()
    lines = (instance.dir / "hook-status").read_text().splitlines()
    status = {line.split(":")[0]: line.split()[1:] for line in lines}
    assert status["Uid"] == [str(id_of(SERVICE))] * 4
    assert all(int(status[name][0], 16) == 0 for name in ("CapPrm", "CapEff", "CapAmb")), status
    assert status["NoNewPrivs"] == ["0"]


@pytest.mark.parametrize("services", ["root", SERVICE])
def test_killed_and_timed_out(own_user, services):
    """Whoever has to kill an agent can, though it is another user's."""
    instance = own_user(services, plan={"analyst": {"sleep_s": 600}}, timeout_seconds=3,
                        kill_grace_seconds=1).start()
    key = instance.new_issue(1)
    agent = instance.agent()
    instance.wait_for(lambda: os.stat(f"/proc/{agent}").st_uid == id_of(AGENT), 10, "as its user")
    keeper = json.loads(next(instance.home.glob("runs/*/agent.pid")).read_text())["keeper_pid"]
    instance.kill("runner", signal.SIGSTOP)  # or it would end what the kernel left
    os.kill(keeper, signal.SIGKILL)
    instance.wait_for(lambda: not alive(agent), 1, "it goes with its keeper")
    instance.kill("runner", signal.SIGCONT)
    # the next one is left alone: its time ends
    instance.wait_for(lambda: [run for run in instance.task(key)["runs"]
                               if (run["reason"] or "").startswith("timeout:")], 60, "the time is over")
    instance.plan({})
    instance.approve(key, 60)
    instance.wait_stage(key, "done", 60)
    # lost with the runner dead too, and the agent's child in a session of its own: the successor sweeps
    instance.plan({"analyst": {"sleep_s": 600}})
    other = instance.new_issue(2)
    agent = instance.agent()
    stray = subprocess.Popen(["setpriv", f"--reuid={AGENT}", f"--regid={id_of(AGENT)}", "--clear-groups",
                              "sleep", "600"], cwd=instance.workspace(other), start_new_session=True)
    keepers = [json.loads(path.read_text())["keeper_pid"]
               for path in instance.home.glob("runs/*/agent.pid")]
    instance.kill("runner")
    for keeper in keepers:
        if alive(keeper):
            os.kill(keeper, signal.SIGKILL)
    assert stray.wait(30) == -signal.SIGKILL, "nothing lives in the workspace of a lost run"
    instance.plan({})
    instance.approve(other, 60)
    instance.wait_stage(other, "done", 60)


def with_user(instance, name):
    """agent.user as it is to be from now on."""
    config = json.loads(instance.config.read_text())
    config["agent"]["user"] = name
    instance.config.write_text(json.dumps(config))
    before = instance.pid("runner")
    instance.process.send_signal(signal.SIGHUP)
    instance.wait_for(lambda: instance.pid("runner") not in (None, before), 20, "the runner is another")
    instance.wait_up()


def test_workspaces_from_before(own_user):
    """agent.user comes to an installation that had none: what is there is handed over."""
    instance = own_user(user="").start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.parked(key), 60, "it waits for approval")
    assert owners(instance.workspace(key)) == {0}
    subprocess.run(["chmod", "-R", "a+rwX", instance.agent_dir], check=True)  # what it wrote as root
    with_user(instance, AGENT)
    instance.approve(key, 60)
    instance.wait_stage(key, "done", 60)
    check_all(instance, key)
    assert owners(instance.workspace(key)) == {id_of(AGENT)}


def test_a_workspace_that_we_cannot_look_into_is_not_called_empty(own_user):
    """agent.user is taken away from services that are not root: what lies in the workspaces is out of
    reach, so a STOP deletes nothing; with the user back it saves first. Red when whatever hinders the look
    counts as nothing to save."""
    instance = own_user(SERVICE).start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.parked(key), 60, "it waits for approval")
    workspace, branch = instance.workspace(key), instance.task(key)["branch"]
    (workspace / "unsaved.txt").write_text("theirs\n")
    shutil.chown(workspace / "unsaved.txt", AGENT)
    with_user(instance, "")
    log = instance.home / "log/runner/current"
    instance.http("POST", f"/tasks/{key}/stop", {"actor": "ada"})
    instance.wait_for(lambda: f"{workspace}: Permission denied" in log.read_text(), 30, "it is said")
    assert workspace.is_dir() and git(instance.repo, "branch", "--list", branch)
    with_user(instance, AGENT)
    instance.wait_for(lambda: not workspace.exists(), 60, "saved and removed")
    refs = git(instance.repo, "for-each-ref", "--format=%(refname)", "refs/orchestrator/preserved")
    assert any("theirs" == git(instance.repo, "show", f"{ref}:unsaved.txt", check=False)
               for ref in refs.splitlines())
    assert not git(instance.repo, "branch", "--list", branch)


@pytest.mark.parametrize("named, words", [
    ({"user": "nobody-of-this-name"}, "there is no such user"),
    ({"user": "root"}, "agents need a user of their own"),
    ({"user": SERVICE, "services": SERVICE}, "agents need a user of their own"),
    ({"services": SERVICE, "capabilities": ""}, "that needs CAP_SETUID"),
])
def test_without_its_user_no_agent_starts(own_user, named, words):
    instance = own_user(**named).start(wait=False)
    log = instance.home / "log/runner/current"
    instance.wait_for(lambda: log.exists() and words in log.read_text(), 20, words)
    instance.new_issue(1)
    instance.wait_for(lambda: any("runner is" in reason for reason in (instance.http(
        "GET", "/health", token=False)[1] or {}).get("reasons", [])), 20, "/health tells")
    assert instance.agents() == {} and instance.starts() == []


def test_only_the_runner_gets_them(own_user):
    instance = own_user(SERVICE).start()
    for name in ("scheduler", "ingress", "notifier", "reaper", "runner"):
        lines = Path(f"/proc/{instance.pid(name)}/status").read_text().splitlines()
        held = {line.split(":")[0]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}
        assert held["CapAmb"] == 0, name
        assert held["CapPrm"] == ((1 << 0 | 1 << 5 | 1 << 6 | 1 << 7) if name == "runner" else 0), name
