"""Orders and what comes between them: STOP at any moment, late keepers, two runs of one task, a
scheduler that is away, the end of the container, and commands that cannot be carried out."""
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import ROOT
from runner_kit import BIN, World, alive, git, wait_for

BRANCH = "feature/SHOP-1-a-thing"
WORK = 'echo "$ORCH_RUN" >> work.txt\n'


# ---- STOP ----

def test_stop_of_a_running_agent_saves_its_work():
    with World("echo half > work.txt\nsleep 60\n") as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: (world.workspace() / "work.txt").exists())
        world.order_stop("r1")
        result = world.result("r1")
        assert (result["outcome"], result["class"]) == ("cancelled", "none")
        assert result["detail"]["preserved"] == "refs/orchestrator/preserved/7/r1"
        assert git("show", "refs/orchestrator/preserved/7/r1:work.txt",
                   cwd=world.repository()) == "half"
        assert world.agents_of("r1") == [] and world.remote_head() is None


def test_stop_of_a_run_that_never_came_is_answered_and_it_never_starts():
    with World(WORK) as world:
        world.start_scheduler()
        world.start_runner()
        world.order_stop("r1")
        assert world.result("r1")["outcome"] == "cancelled"
        wait_for(lambda: (world.dir("r1") / "acked").exists())
        world.tell(world.command("r1"))
        wait_for(lambda: any(m["kind"] == "run_accepted" for m in world.messages))
        wait_for(lambda: len(world.results("r1")) >= 2)
        assert world.agent_starts("r1") == []


def test_stop_that_came_while_no_runner_lived():
    with World("sleep 60\n") as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        world.kill_runner()
        world.order_stop("r1")
        world.start_runner()
        assert world.result("r1")["outcome"] == "cancelled"
        assert world.agents_of("r1") == []


def test_stop_at_any_moment_of_a_start():
    """`cancelled` against `started`: whoever is first, the run ends cancelled, its agent was started
    at most once and nothing of it lives."""
    chance = random.Random(1)
    with World("sleep 30\n") as world:
        world.start_scheduler()
        world.start_runner()
        started, lead = 0, 0

        def begin(i):
            world.tell(world.command(f"r{i}", task=100 + i, key=f"SHOP-{100 + i}",
                                     branch=f"feature/x-{i}"))
        for i in range(31):
            run, at = f"r{i}", time.monotonic()
            begin(i)
            if i == 0:  # how long a start takes on this machine
                wait_for(lambda: world.agent_starts("r0"))
                lead = time.monotonic() - at
            else:
                time.sleep(chance.uniform(0, 1.6 * lead))
            world.order_stop(run)
            result = world.result(run)
            assert result["outcome"] == "cancelled", result
            starts = len(world.agent_starts(run))
            started += starts
            assert starts <= 1
            assert starts == 0 or (world.dir(run) / "started").exists()
            assert world.agents_of(run) == []
        assert 1 < started < 31, "the moments were all on one side"


# ---- keepers and runners ----

HELD_KEEPER = """#!/bin/bash
# the first one waits for the file go-1, the next one for go-2, ...
n=1; until mkdir {root}/keeper-$n 2>/dev/null; do n=$((n + 1)); done
until [ -e {root}/go-$n ]; do sleep 0.02; done
exec {keeper} "$@"
"""


def with_late_keeper(world):
    """A runner is killed that has told its keeper to start, and the keeper is late: it goes on when
    the file go-1 is there. Returns the runner's program, whose next keeper waits for go-2."""
    world.env["ORCH_AGENTS_DIR"] = str(ROOT / "agents")
    folder = world.root / "bin"
    folder.mkdir()
    shutil.copy(BIN / "orch-runner", folder)
    keeper = folder / "orch-keeper"
    keeper.write_text(HELD_KEEPER.format(root=world.root, keeper=BIN / "orch-keeper"))
    keeper.chmod(0o755)
    world.start_scheduler()
    world.start_runner(folder / "orch-runner")
    world.tell(world.command("r1"))
    wait_for(lambda: (world.root / "keeper-1").exists() and
             (world.dir("r1") / "launch.json").exists())
    time.sleep(0.5)  # the word is on its way
    world.kill_runner()
    return folder / "orch-runner"


# Red when end_run leaves no `cancelled`, or the keeper does not look for it.
def test_a_late_keeper_starts_nothing_that_was_stopped_meanwhile():
    with World(WORK) as world:
        program = with_late_keeper(world)
        world.order_stop("r1")
        world.start_runner(program)
        assert world.result("r1", 40)["outcome"] == "cancelled"
        for name in ("go-1", "go-2"):
            (world.root / name).touch()
        time.sleep(1)
        assert world.agent_starts("r1") == [] and not (world.dir("r1") / "started").exists()


# Red when agent_run_start does not withdraw launch.json: the late keeper's agent works while git
# prepares its workspace.
def test_a_late_keeper_of_a_killed_runner_starts_nothing_into_a_workspace_under_preparation():
    with World(WORK) as world:
        program = with_late_keeper(world)
        world.wrap_git(f'if [ "$1" = fetch ]; then touch {world.root}/fetching; '
                       f'until [ -e {world.root}/fetch-on ]; do sleep 0.02; done; fi\n'
                       'exec "$GIT" "$@"')
        world.start_runner(program)
        wait_for((world.root / "fetching").exists)
        (world.root / "go-1").touch()
        time.sleep(1)
        assert world.agent_starts("r1") == [] and not (world.dir("r1") / "started").exists()
        for name in ("fetch-on", "go-2"):
            (world.root / name).touch()
        result = world.result("r1", 40)
        assert result["outcome"] == "succeeded", (result, world.log())
        assert len(world.agent_starts("r1")) == 1


# Red when runner_take_workspace gives it to both.
def test_two_runs_of_one_task_work_one_after_the_other():
    agent = 'mkdir "$HOME/in" || touch "$HOME/both"\nsleep 1\nrmdir "$HOME/in"\n' + WORK
    with World(agent) as world:
        world.env["HOME"] = str(world.root)
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        world.tell(world.command("r2", entry=4))
        wait_for(lambda: "another run is in the workspace" in world.log())
        world.kill_runner()  # the next one must know it as well
        world.start_runner()
        assert world.result("r1")["outcome"] == world.result("r2")["outcome"] == "succeeded"
        assert not (world.root / "both").exists()
        assert git("show", f"{BRANCH}:work.txt", cwd=world.forge) == "r1\nr2"


def test_a_run_that_waits_for_the_workspace_can_be_stopped():
    with World("sleep 3\n" + WORK) as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        world.tell(world.command("r2", entry=4))
        wait_for(lambda: "another run is in the workspace" in world.log())
        world.order_stop("r2")
        assert world.result("r2", 2)["outcome"] == "cancelled"
        assert not world.results("r1")
        assert world.result("r1")["outcome"] == "succeeded"


# Red with one lock for all repositories, or when a step runs in the main loop.
def test_a_slow_remote_of_one_project_delays_no_other():
    with World(WORK, more=[{"key": "SLOW", "repo": "slow"}]) as world:
        world.wrap_git('case "$*" in *slow.git*) sleep 8;; esac\nexec "$GIT" "$@"')
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("s1", project="SLOW", task=8, key="SLOW-1"))
        time.sleep(0.3)
        begin = time.monotonic()
        assert world.run("r1")["outcome"] == "succeeded"
        assert time.monotonic() - begin < 7 and not world.results("s1")


# ---- the scheduler ----

def test_a_result_is_repeated_the_same_until_it_is_acknowledged():
    with World(WORK) as world:
        world.start_scheduler()
        world.tell("mute")
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: (world.dir("r1") / "result.json").exists())
        wait_for(lambda: len(world.results("r1")) >= 1)
        world.kill_runner()
        world.start_runner()
        wait_for(lambda: len(world.results("r1")) >= 2)
        assert not (world.dir("r1") / "acked").exists()
        world.tell("unmute")
        wait_for(lambda: (world.dir("r1") / "acked").exists(), 30)
        sent = {json.dumps({**m, "id": 0}, sort_keys=True) for m in world.results("r1")}
        assert len(sent) == 1
        count = len(world.results("r1"))
        time.sleep(0.5)
        assert len(world.results("r1")) == count


def cpu_ms(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def test_a_scheduler_that_is_long_away_costs_little_and_misses_nothing():
    with World("sleep 0.5\n" + WORK) as world:
        world.start_scheduler()
        world.start_runner()
        for i in range(5):
            world.tell(world.command(f"r{i}", task=10 + i, key=f"SHOP-{10 + i}",
                                     branch=f"feature/x-{i}"))
        wait_for(lambda: all(world.agent_starts(f"r{i}") for i in range(5)))
        world.stop_scheduler()
        wait_for(lambda: all((world.dir(f"r{i}") / "result.json").exists() for i in range(5)))
        time.sleep(1)
        before, lines = cpu_ms(world.runner.pid), len(world.log().splitlines())
        time.sleep(5)
        assert cpu_ms(world.runner.pid) - before < 400
        assert len(world.log().splitlines()) - lines < 20
        world.start_scheduler()
        for i in range(5):
            assert world.result(f"r{i}")["outcome"] == "succeeded"
            wait_for(lambda: (world.dir(f"r{i}") / "acked").exists())


# ---- the end of the container ----

def test_as_the_child_of_pid_1_agents_are_ended_saved_and_reported_as_interrupted():
    agent = "trap 'echo late > late.txt; sleep 30' TERM\necho half > work.txt\nsleep 60 & wait\n"
    with World(agent, config="agent: {kill_grace_seconds: 20}\n") as world:
        world.start_scheduler()
        world.start_runner(ORCH_PID1="1")
        world.tell(world.command("r1"))
        wait_for(lambda: (world.workspace() / "work.txt").exists())
        begin = time.monotonic()
        world.runner.terminate()
        assert world.runner.wait(12) == 0
        assert time.monotonic() - begin < 7, "the grace of three seconds counts, not the agent's own"
        result = world.result("r1")
        assert (result["outcome"], result["class"]) == ("failed", "interrupted")
        assert world.agents_of("r1") == []
        assert "refs/orchestrator/preserved/7/r1" in world.preserved()
        # the next container goes on in the same workspace, with the same session
        world.agent.write_text("#!/bin/bash\necho \"$ORCH_RUN $$\" >> " + str(world.starts) +
                               "\ncat > prompt.txt; cat work.txt > more.txt\n")
        world.start_runner(ORCH_PID1="1")
        again = world.run("r2", resume_session=result["session"], first_of_entry=False)
        assert again["outcome"] == "succeeded" and again["session"] == result["session"]
        assert git("show", f"{BRANCH}:more.txt", cwd=world.forge) == "half"
        assert "interrupted" in git("show", f"{BRANCH}:prompt.txt", cwd=world.forge)


def test_elsewhere_an_agent_outlives_an_ordered_end_of_the_runner():
    with World("sleep 3\n" + WORK) as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        world.runner.terminate()
        assert world.runner.wait(5) == 0
        assert alive(world.agent_starts("r1")[0])
        world.start_runner()
        assert world.result("r1")["outcome"] == "succeeded"
        assert len(world.agent_starts("r1")) == 1


# ---- commands that cannot be carried out ----

@pytest.mark.parametrize("fields, reason", [
    ({"project": "GONE"}, "operator: project GONE is not configured"),
    ({"branch": "x:refs/heads/main"}, "permanent: x:refs/heads/main is no name of a branch"),
    ({"branch": "--upload-pack=touch /tmp/x"}, "is no name of a branch"),
    ({"branch": "main"}, "permanent: the task's branch is the default branch main"),
    ({"key": "../../x"}, "no safe file name"),
    ({"role": "../developer"}, "permanent: no role ../developer"),
    ({"job_kind": "dance"}, "permanent: no job kind dance"),
])
def test_a_command_that_does_not_fit_has_a_result(fields, reason):
    with World(WORK) as world:
        world.start_scheduler()
        world.start_runner()
        result = world.run("r1", **fields)
        assert result["outcome"] == "failed" and reason in result["reason"], result
        assert world.agent_starts("r1") == []
        assert git("rev-list", "--count", "main", cwd=world.forge) == "1"
        # and the runner goes on
        assert world.run("r2")["outcome"] == "succeeded"


def test_a_run_id_that_is_no_file_name_is_not_taken():
    with World(WORK) as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("../../escaped"))
        assert world.run("r1")["outcome"] == "succeeded"
        assert not list(world.root.rglob("escaped*"))


def test_a_project_that_left_the_configuration_ends_its_runs():
    with World("sleep 60\n") as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        world.kill_runner()
        world.config.write_text(world.config.read_text().replace('"SHOP"', '"OTHER"'))
        world.start_runner()
        result = world.result("r1")
        assert (result["outcome"], result["class"]) == ("failed", "operator")


# Red when adoption checks a specification as strictly as a new command.
def test_a_run_of_an_older_runner_is_adopted():
    with World("sleep 1\n" + WORK) as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        world.kill_runner()
        path = world.dir("r1") / "spec.json"
        spec = json.loads(path.read_text())
        for field in ("deadline_ms", "comments", "first_of_entry", "attempt"):
            del spec[field]
        path.write_text(json.dumps(spec))
        (world.dir("r1") / "spec.json.tmp.123").write_text("{")
        world.start_runner()
        assert world.result("r1")["outcome"] == "succeeded"
        assert len(world.agent_starts("r1")) == 1


# ---- what reaches other processes ----

SHOW = """python3 - <<'EOF'
import json, os
def shown(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
fds = {fd: shown(fd) for fd in os.listdir("/proc/self/fd")}
json.dump({"fds": fds, "env": dict(os.environ), "ppid": os.getppid()}, open("seen.json", "w"))
EOF
"""


def test_an_agent_gets_no_descriptor_and_no_variable_of_ours():
    with World(SHOW) as world:
        world.start_scheduler()
        world.start_runner(ORCH_HTTP_OPERATOR_TOKEN="s3cret", GITEA_TOKEN="s3cret",
                           ORCH_AGENT_ENV_ALLOW='["ORCH_HTTP_OPERATOR_TOKEN", "LANG"]')
        assert world.run("r1")["outcome"] == "succeeded"
        seen = json.loads(git("show", f"{BRANCH}:seen.json", cwd=world.forge))
        assert "s3cret" not in json.dumps(seen)
        assert {name for name in seen["env"] if name.startswith("ORCH_")} == \
            {"ORCH_ROLE", "ORCH_STAGE", "ORCH_TASK", "ORCH_RUN", "ORCH_ATTEMPT",
             "ORCH_WORKSPACE"}
        others = {fd: path for fd, path in seen["fds"].items()
                  if int(fd) > 2 and "/proc/" not in path and path}
        assert others == {}, others
        assert not any(str(world.run_dir) in path or ".lock" in path for path in seen["fds"].values())


def test_a_git_of_ours_gets_no_descriptor_of_the_runner():
    with World(WORK) as world:
        world.wrap_git(f'for fd in /proc/$$/fd/*; do n=${{fd##*/}}; '
                       f'[ $n -gt 2 ] && [ $n -lt 200 ] && readlink $fd >> {world.root}/fds; done\n'
                       f'env >> {world.root}/envs\nexec "$GIT" "$@"')
        world.start_scheduler()
        world.start_runner(ORCH_HTTP_OPERATOR_TOKEN="s3cret")
        assert world.run("r1")["outcome"] == "succeeded"
        fds = (world.root / "fds").read_text() if (world.root / "fds").exists() else ""
        assert fds == "", fds
        assert "s3cret" not in (world.root / "envs").read_text()


def test_the_workspace_has_no_remote_to_push_to():
    with World("git remote -v > remotes; git config --list --show-origin > config.txt\n") as world:
        world.start_scheduler()
        world.start_runner()
        assert world.run("r1")["outcome"] == "succeeded"
        assert git("show", f"{BRANCH}:remotes", cwd=world.forge) == ""
        assert str(world.forge) not in git("show", f"{BRANCH}:config.txt", cwd=world.forge)


# ---- growth ----

# Red when the list of conflicting files is not cut: with enough of them the message is over the bus's
# limit and never arrives.
def test_thousands_of_conflicts_fit_into_a_result():
    many = "python3 -c \"for i in range(1000): open(f'f{i:0200d}', 'w').write('branch')\"\n"
    with World(many) as world:
        world.start_scheduler()
        world.start_runner()
        work = world.run("r1")
        world.push_by_hand("main", {f"f{i:0200d}": "main" for i in range(1000)})
        gate = world.run("g1", job_kind="merge-gate", role=None, stage="deploy-staging", entry=5,
                         head=work["head"])
        assert gate["gate"]["verdict"] == "fail" and "conflict" in gate["gate"]["reason"]
        assert 1000 < len(gate["gate"]["findings"][0]) < 9000
        merge = world.run("m1", job_kind="merge", role=None, stage="deploy", entry=6,
                          head=work["head"], pull_request=work["pull_request"])
        assert merge["gate"]["verdict"] == "fail" and len(merge["gate"]["findings"][0]) < 9000


def test_a_flood_of_output_and_artefacts_is_bounded():
    agent = ("mkdir -p docs/work-items/SHOP-1; cd docs/work-items/SHOP-1\n"
             "for i in $(seq 700); do echo x > a$i; done\n"
             "head -c 30000000 /dev/zero | tr '\\0' x; echo\n"
             "yes 'a line of an agent that says too much' | head -c 30000000\n")
    with World(agent, config="log: {max_bytes: 1048576}\n") as world:
        world.start_scheduler()
        world.start_runner()
        result = world.run("r1")
        assert result["outcome"] == "succeeded"
        assert len(result["detail"]["artefacts"]) <= 100
        assert len(json.dumps(result)) < 100000
        size = sum(path.stat().st_size for path in world.dir("r1").iterdir())
        assert size < 6 << 20


def test_stopping_and_starting_leaves_no_process_behind():
    with World("sleep 0.3\n" + WORK) as world:
        world.start_scheduler()
        world.start_runner()
        for i in range(3):
            world.run(f"r{i}", entry=4 + i)
        world.runner.send_signal(signal.SIGTERM)
        world.runner.wait(5)
        left = subprocess.run(["pgrep", "-f", str(world.home)], capture_output=True, text=True)
        assert left.stdout == ""


# Red when a directory without `acked`, or one that is young, is removed, or an old one is kept.
def test_what_is_over_by_its_retention_is_removed_at_the_start():
    with World(WORK, config="retention: {run_logs_days: 2, days: 3}\n") as world:
        world.start_scheduler()
        world.start_runner()
        for run in ("old", "young", "unacked"):
            world.run(run, entry=int(4 + len(run)))
            wait_for(lambda: (world.dir(run) / "acked").exists())
        world.kill_runner()
        sessions = world.home / "sessions"
        sessions.mkdir(exist_ok=True)
        for name in ("s-old.json", "s-young.json"):
            (sessions / name).write_text("{}")
        then = time.time() - 4 * 86400
        os.utime(world.dir("old") / "acked", (then, then))
        os.utime(sessions / "s-old.json", (then, then))
        (world.dir("unacked") / "acked").unlink()
        os.utime(world.dir("unacked"), (then, then))
        world.start_runner()
        wait_for(lambda: not world.dir("old").exists())
        assert world.dir("young").exists() and world.dir("unacked").exists()
        assert [path.name for path in sorted(sessions.glob("s-*"))] == ["s-young.json"]
