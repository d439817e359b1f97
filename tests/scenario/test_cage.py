"""What an agent can see and change of us, without a user of its own: files are held by Landlock, sockets are not, and
the log and doctor say so. With one: test_agent_user.py, whose agents are in the same cage.

Mutations, each red: the keeper that does not enter the cage (files, folder), or leaves root its capabilities (files);
a folder that holds something of ours opened as a whole (folder); TMPDIR left ours, or not removed (tmp); HOME left
ours (files); the limits not set (limits); agent.sandbox not asked (switched_off, namespaces)."""

import json
import os
from pathlib import Path

import pytest

from harness import PROJECT, ROOT
from orchctl_kit import orchctl

PRYING = ROOT / "tests/agents/prying_agent.py"


def abi():
    """The kernel's Landlock ABI, asked as any program would."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(444, None, 0, 1)


needs_landlock = pytest.mark.skipif(abi() < 1, reason="the kernel has no Landlock")


def caged(make_instance, *paths, **agent):
    """Its agents try these paths, and what is ours."""
    instance = make_instance(keys={"agent": agent})
    ours = [instance.home / name for name in ("db/main.db", "operator_token", "runs", "repos", "log", "forge",
                                              "sessions", "workspaces")]
    config = json.loads(instance.config.read_text())
    config["projects"][0]["agent_command"] = [str(PRYING), str(instance.agent_dir), str(instance.config),
                                              str(instance.home / "other-secret"), *map(str, [*ours, *paths])]
    instance.config.write_text(json.dumps(config))
    (instance.home / "other-secret").write_text("a secret")
    return instance.start()


def pried(instance):
    return [json.loads(path.read_text()) for path in (instance.agent_dir / "pried").iterdir()]


def analysed(instance):
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.parked(key), 60, "it is analysed")
    return key


def opened(seen):
    return {path for path, what in seen["paths"].items() if what["seen"] and what["read"]}


@needs_landlock
def test_files(make_instance, tmp_path):
    (tmp_path / "person").write_text("a person's own")
    instance = caged(make_instance, tmp_path / "person", "/etc/passwd", f"/proc/{os.getpid()}/environ")
    analysed(instance)
    [seen] = pried(instance)
    assert opened(seen) == {"/etc/passwd"}
    assert seen["environment"]["HOME"] == str(instance.home / "agents" / PROJECT)
    assert seen["home"]["read"] and seen["home"]["write"] and seen["work"]["write"]
    assert not [name for name in seen["environment"] if name.startswith("ORCH_") and name not in (
        "ORCH_ROLE", "ORCH_STAGE", "ORCH_TASK", "ORCH_RUN", "ORCH_ATTEMPT", "ORCH_WORKSPACE")]
    assert seen["status"]["NoNewPrivs"] == ["1"] and int(seen["status"]["CapEff"][0], 16) == 0
    log = (instance.dir / "supervisor.log").read_text() if (instance.dir / "supervisor.log").exists() else ""
    log += "".join(path.read_text() for path in (instance.home / "log").rglob("current"))
    assert "files: landlock (ABI" in log and "sockets: not protected" in log


@needs_landlock
def test_a_folder_that_holds_ours_is_opened_but_for_that(make_instance):
    instance = make_instance()
    (instance.dir / "note").write_text("of a person who allows it")
    config = json.loads(instance.config.read_text())
    config["agent"]["sandbox_read"] = [str(instance.dir)]
    config["projects"][0]["agent_command"] = [str(PRYING), *map(str, (
        instance.agent_dir, instance.dir / "note", instance.config, instance.home / "db/main.db", instance.run_dir))]
    instance.config.write_text(json.dumps(config))
    analysed(instance.start())
    [seen] = pried(instance)
    assert opened(seen) == {str(instance.dir / "note")}


@needs_landlock
def test_tmp(make_instance):
    instance = caged(make_instance)
    analysed(instance)
    [seen] = pried(instance)
    tmp = Path(seen["environment"]["TMPDIR"])
    assert tmp.parent == instance.home / "tmp" and not tmp.exists()


def test_switched_off(make_instance):
    instance = caged(make_instance, sandbox="none")
    analysed(instance)
    [seen] = pried(instance)
    assert str(instance.home / "other-secret") in opened(seen)


def test_namespaces(make_instance):
    instance = caged(make_instance, sandbox="namespaces")
    key = instance.new_issue(1)
    instance.wait_for(lambda: "agent.sandbox" in json.dumps(instance.http("GET", "/queue")[1]["queued"]), 60,
                      "its reason names the key")
    assert not instance.starts(), key


def agent_script(tmp_path, text):
    path = tmp_path / "agent.py"
    path.write_text("#!/usr/bin/env python3\n" + text)
    path.chmod(0o755)
    return path


def test_limits(make_instance, tmp_path):
    agent = agent_script(tmp_path, "import json, resource, sys\n"
                         "open(sys.argv[1] + '/limits', 'w').write(json.dumps([resource.getrlimit(getattr(resource,"
                         " 'RLIMIT_' + name))[0] for name in ('DATA', 'FSIZE', 'CORE')]))\n")
    instance = make_instance(keys={"max_attempts": 1, "agent": {
        "limits": {"memory_mb": 512, "file_mb": 7}, "sandbox_read": [str(tmp_path)]}})
    config = json.loads(instance.config.read_text())
    config["projects"][0]["agent_command"] = [str(agent), str(instance.agent_dir)]
    instance.config.write_text(json.dumps(config))
    instance.start().new_issue(1)
    limits = instance.agent_dir / "limits"
    instance.wait_for(lambda: limits.exists() and limits.read_text(), 60, "it told its limits")
    assert json.loads(limits.read_text()) == [512 << 20, 7 << 20, 0]


def test_doctor(make_instance):
    instance = caged(make_instance)
    said = orchctl(instance, "doctor")
    text = (said.stdout + said.stderr).decode()
    assert "sockets: not protected" in text and "agent.user" in text, text
    assert "auto. files: protected" in text or abi() < 1, text
