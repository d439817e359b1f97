"""How services are started: order, surroundings, what cannot be started."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from harness import BIN
from supervisor_kit import READY, SLEEP, make_tree, note, tree  # noqa: F401


def events(tree, name):
    return {line.split()[0]: float(line.split()[1]) for line in tree.notes_of(name)}


def test_after_waits_for_readiness(tree):
    """Mutation: holds_up() content with a process instead of readiness: b starts 0.5 s too soon."""
    tree.service("a", note("a", "start") + "sleep 0.5\n" + note("a", "ready") + READY + SLEEP)
    tree.service("b", note("b", "start") + READY + SLEEP, "after: [a]\nnotification-fd: 3\n")
    tree.service("c", note("c", "start") + SLEEP, "after: [b]\n")
    tree.start()
    assert events(tree, "b")["start"] >= events(tree, "a")["ready"]
    assert events(tree, "c")["start"] >= events(tree, "b")["start"]
    assert tree.find("c")["ready"], "without a descriptor it is ready once it runs"


def test_readiness_is_a_newline(tree):
    """Anything else on the descriptor, and its end, say nothing. Mutation: ready at end of file."""
    tree.service("word", "printf word >&3\nexec 3>&-\n" + SLEEP)
    tree.service("closed", "exec 3>&-\n" + SLEEP)
    tree.service("later", "printf word >&3\nsleep 0.2\nprintf '\\n' >&3\n" + SLEEP)
    tree.start(wait=False)
    tree.wait_ready("later")
    assert tree.find("word")["state"] == tree.find("closed")["state"] == "starting"


def test_one_that_is_down_or_failed_holds_nobody_up(make_tree):
    tree = make_tree({"supervisor": {"intensity": 2}})
    tree.service("idle", down="")
    tree.service("broken", "exit 1\n")
    tree.service("a", yaml="after: [idle, broken]\nnotification-fd: 3\n")
    tree.start(wait=False)
    tree.wait_ready("a")
    assert tree.find("idle")["state"] == "down"
    assert tree.find("broken")["failed"]


def test_one_that_will_be_ready_later_does_hold_up(tree):
    tree.service("slow", "sleep 1\n" + READY + SLEEP)
    tree.service("a", yaml="after: [slow]\nnotification-fd: 3\n")
    tree.start(wait=False)
    tree.wait_for(lambda: tree.find("slow").get("state") == "starting", 5, "slow is starting")
    assert tree.find("a")["state"] == "waiting"
    tree.wait_ready("a")


def test_surroundings(tree):
    """Mutations: the mask not reset before exec; a descriptor without close-on-exec."""
    tree.service("a", """
    grep -E '^(SigBlk|SigIgn)' /proc/self/status | sed 's/^/a /' >>"$NOTES"
    echo "a env $PATH|$ORCH_CONFIG|$ORCH_RUN_DIR|$ORCH_SV_DIR|$ORCH_NOTIFY_FD|$PWD" >>"$NOTES"
    echo "a leader $(cut -d ' ' -f 1,5,6 /proc/$$/stat)" >>"$NOTES"
    """ + READY + SLEEP)
    # a parent that ignores and blocks what it can, and leaves a file open
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    stray = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(stray, True)
    try:
        tree.start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
                   close_fds=False)
    finally:
        os.close(stray)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    lines = tree.notes_of("a")
    assert {line.split()[0]: int(line.split()[1], 16) for line in lines if line.startswith("Sig")} \
        == {"SigBlk:": 0, "SigIgn:": 0}
    assert set(os.listdir(f"/proc/{tree.pid('a')}/fd")) == {"0", "1", "2", "3"}
    path, config, run_dir, sv_dir, notify, folder = \
        next(line for line in lines if line.startswith("env"))[4:].split("|")
    assert path.split(":")[0] == str(BIN)
    assert (config, run_dir, sv_dir, notify) == \
        (str(tree.config), str(tree.run_dir), str(tree.sv), "3")
    assert folder == str(tree.run_dir / "sv/a")
    pid, group, session = next(line for line in lines if line.startswith("leader")).split()[1:]
    assert pid == group == session == str(tree.pid("a"))


def test_the_shell_is_spared(tree):
    """A script that only execs a program is that program; one that does more stays a script."""
    tree.service("one", "# words\nexec orch-monitor\n", "")
    tree.service("two", "true\n" + SLEEP, "")
    tree.start()
    assert os.readlink(tree.run_dir / "sv/one/run") == str(BIN / "orch-monitor")
    assert os.readlink(tree.run_dir / "sv/two/run") == str(tree.sv / "two/run")
    assert os.readlink(f"/proc/{tree.pid('one')}/exe") == str(BIN / "orch-monitor")


def test_a_link_to_the_program(tree):
    folder = tree.service("a", SLEEP, "")
    (folder / "run").unlink()
    (folder / "run").symlink_to(BIN / "orch-monitor")
    tree.start()
    assert os.readlink(f"/proc/{tree.pid('a')}/exe") == str(BIN / "orch-monitor")


def test_limits(tree):
    tree.service("a", 'echo "a $(ulimit -n) $(ulimit -c)" >>"$NOTES"\n' + SLEEP,
                 "limits: {nofile: 123, core: 0}\n")
    tree.start()
    tree.wait_for(lambda: tree.notes_of("a") == ["123 0"], 5, "the limits hold")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a service as another user")
def test_user_and_death_with_the_supervisor(tree):
    """Mutation: PR_SET_PDEATHSIG before the change of user, which clears it: it lives on."""
    os.chmod(tree.dir, 0o711)
    tree.notes.touch()
    tree.notes.chmod(0o666)
    tree.service("a", 'echo "a $(id -u):$(id -g):$(id -G)" >>"$NOTES"\n' + SLEEP,
                 "user: nobody\n")
    tree.run_dir.mkdir()
    tree.run_dir.chmod(0o755)
    tree.start()
    uid, gid, groups = tree.wait_for(lambda: tree.notes_of("a"), 5, "it runs")[0].split(":")
    assert uid != "0" and gid != "0" and "0" not in groups.split()
    pid = tree.pid("a")
    tree.process.kill()
    tree.process.wait()
    tree.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 5, "it died with its supervisor")


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # no pid at the moment, or no longer this one
        return ""


def test_a_program_that_is_missing(tree):
    """Said with its name; found as soon as it is there; the others go on."""
    tree.service("lost", f"exec {tree.dir}/program\n", "")
    tree.service("a")
    tree.start(wait=False)
    tree.wait_ready("a")
    tree.wait_said("ended", "lost: exit 127")
    tree.put(tree.dir / "program", "#!/bin/sh\nexec sleep 1000\n", True)
    tree.wait_for(lambda: "sleep" in command_of(tree.pid("lost")), 10, "lost is found")


def test_a_program_that_cannot_be_executed(tree):
    """The errno of a failed exec is in the obituary."""
    folder = tree.service("a", "#!/no/such/interpreter\n", "")
    tree.start(wait=False)
    tree.wait_for(lambda: (tree.find("a").get("last_obituary") or {}).get("reason", "")
                  == "exec: No such file or directory", 5, "the reason is told")
    tree.put(folder / "run", "#!/bin/sh\nexec sleep 1000\n", True)
    tree.wait_for(lambda: tree.pid("a"), 5, "it starts")


def run(*arguments, **environment):
    names = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
    return subprocess.run([BIN / "orchestrator", *arguments], capture_output=True, text=True,
                          timeout=10, env={**names, **environment})


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "-c"], ["run", "--sv"],
                                       ["run", "now"], ["run", "-x", "1"]])
def test_usage(arguments):
    done = run(*arguments)
    assert done.returncode == 100
    assert "usage: orchestrator run" in done.stderr and not done.stdout


def test_version_and_help():
    assert run("--version").stdout.startswith("orchestrator ")
    assert run("--help").returncode == 0


def test_check_config_masks_secrets(tree):
    tree.write_config({"http": {"operator_token": "very-secret"}})
    done = run("check-config", "-c", str(tree.config))
    assert done.returncode == 0 and "very-secret" not in done.stdout
    assert f'home: "{tree.home}"' in done.stdout and "listen" in done.stdout
    assert run("check-config", ORCH_CONFIG=str(tree.config)).stdout == done.stdout
    tree.config.write_text("home: /tmp/x\nbogus: 1\n")
    done = run("check-config", "-c", str(tree.config))
    assert done.returncode == 100 and f"{tree.config}:2: bogus" in done.stderr and not done.stdout


def test_refuses_what_is_invalid(tree):
    """Nothing is made, nothing started; file, line and key are named."""
    tree.service("a", yaml="bogus: 1\n")
    assert tree.start(wait=False).process.wait(5) == 100
    assert f"{tree.sv}/a/service.yaml:1: bogus: unknown key" in (tree.dir / "output").read_text()
    tree.config.write_text("home: /tmp/x\nlog: {keep: 0}\n")
    assert tree.start(wait=False).process.wait(5) == 100
    assert f"{tree.config}:2: log.keep" in (tree.dir / "output").read_text()
    assert not tree.home.exists() and not tree.run_dir.exists()


def test_sv_by_the_environment(tree):
    tree.service("a")
    process = subprocess.Popen([BIN / "orchestrator", "run"], stderr=subprocess.DEVNULL,
                               env=tree.environment({"ORCH_CONFIG": str(tree.config),
                                                     "ORCH_SV_DIR": str(tree.sv)}))
    tree.started.append(process)
    tree.wait_ready("a")


def test_two_supervisors_on_one_home(tree, make_tree):
    """The second names the holder, waits, goes with 111, and nothing of the first is touched."""
    tree.service("a")
    tree.start()
    pid, first = tree.pid("a"), tree.process
    begun = time.monotonic()
    assert tree.start(wait=False).process.wait(10) == 111
    assert time.monotonic() - begun >= 0.9
    assert f"held by supervisor pid {first.pid}" in (tree.dir / "output").read_text()
    assert tree.pid("a") == pid
    # another home, but the same run directory
    other = make_tree()
    other.service("a")
    other.write_config({"run_dir": str(tree.run_dir)})
    assert other.start(wait=False).process.wait(10) == 111
    assert tree.pid("a") == pid and first.poll() is None


def test_run_directory_is_the_owners(tree):
    """Before any socket stands in it: a socket's mode is set only after its bind."""
    tree.service("a")
    tree.start()
    assert oct(tree.run_dir.stat().st_mode & 0o777) == "0o700"
