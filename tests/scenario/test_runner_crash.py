"""kill -9 of the runner at every crash point: the agent that works is the one that started, its work
is committed, pushed and opened once, and the result that the scheduler gets is always the same."""
import json
import os
import re
import signal

import pytest

from harness import ROOT
from runner_kit import World, alive, git, wait_for

POINTS = re.findall(r'^CRASH_POINT\(\w+, "((?:run|merge)-[a-z-]+)"',
                    (ROOT / "lib/crash_points.def").read_text(), re.M)
RUN_POINTS = [point for point in POINTS if point.startswith("run-")]
BRANCH = "feature/SHOP-1-a-thing"

# Half a second of work; its pid before and after shows that it is one process.
AGENT = """
echo $$ > "$ORCH_RUN.pid"; sleep 0.5
[ "$(cat $ORCH_RUN.pid)" = $$ ] && echo "$ORCH_RUN" >> work.txt
rm "$ORCH_RUN.pid"
echo '{"type":"result","subtype":"success","is_error":false,"result":"ok","session_id":"s-1","total_cost_usd":0.25,"usage":{"input_tokens":7,"output_tokens":5}}'
"""


def check_once(world, run):
    """The traces outside of one finished run."""
    results = world.results(run)
    # Sent once more after a crash, the same to the last byte but its id.
    assert len({json.dumps({**r, "id": 0}, sort_keys=True) for r in results}) == 1, results
    result = results[0]
    assert result["outcome"] == "succeeded", (result, world.log())
    assert result["cost_usd"] == 0.25 and result["usage"]["input"] == 7
    assert len(world.agent_starts(run)) == 1
    assert len(world.commits_of(run)) == 1
    assert world.remote_head() == result["head"] == result["gate"]["judged_commit"]
    assert git("show", f"{BRANCH}:work.txt", cwd=world.forge).split().count(run) == 1
    pulls = [pull for pull in world.pulls() if pull["state"] == "open"]
    assert len(pulls) == 1 and pulls[0]["head_sha"] == result["head"]
    wait_for(lambda: (world.dir(run) / "acked").exists())
    return result


@pytest.mark.parametrize("point", RUN_POINTS)
def test_one_kill(point):
    with World(AGENT) as world:
        world.start_scheduler()
        world.arm(point)
        world.start_runner()
        world.tell(world.command("r1"))
        world.runner_died()
        assert world.armed() == []
        world.start_runner()
        world.result("r1")
        check_once(world, "r1")


def test_a_kill_at_each_point_of_one_run():
    with World(AGENT) as world:
        world.start_scheduler()
        world.start_runner()
        first = world.run("r1")
        world.arm(*RUN_POINTS)
        world.tell(world.command("r2", pull_request=first["pull_request"], entry=4))
        world.keep_running(lambda: (world.dir("r2") / "acked").exists())
        # the acknowledgement of the command races with all the others
        assert set(world.armed()) <= {"run-after-accept"}
        check_once(world, "r2")
        assert len(world.pulls()) == 1


def test_the_agent_goes_on_under_the_next_runner():
    with World("sleep 2; echo done > work.txt\n") as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        pid = world.agent_starts("r1")[0]
        for _ in range(3):
            world.kill_runner()
            assert alive(pid)
            world.start_runner()
            wait_for(lambda: "run r1 is taken over" in world.log())
        assert alive(pid)
        assert world.result("r1")["outcome"] == "succeeded"
        assert world.agent_starts("r1") == [pid]
        assert len(world.commits_of("r1")) == 1


def test_an_agent_that_ends_while_no_runner_lives_is_reported():
    with World("sleep 0.6; echo done > work.txt\n") as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        world.kill_runner()
        wait_for(lambda: (world.dir("r1") / "status").exists())
        world.start_runner()
        assert world.result("r1")["outcome"] == "succeeded"
        assert len(world.agent_starts("r1")) == 1


# Red when after_loss does not end what the run left, or when a lost run is started once more.
def test_a_killed_keeper_is_a_lost_run_with_nothing_left():
    agent = "echo half > work.txt\n(setsid sleep 77 &)\nsleep 60\n"
    with World(agent) as world:
        world.start_scheduler()
        world.start_runner()
        world.tell(world.command("r1"))
        wait_for(lambda: (world.workspace() / "work.txt").exists())
        keeper = json.loads((world.dir("r1") / "agent.pid").read_text())["keeper_pid"]
        os.kill(keeper, signal.SIGKILL)
        result = world.result("r1")
        assert result["outcome"] == result["class"] == "lost"
        assert result["session"], "a lost run is resumed by its session"
        assert len(world.agent_starts("r1")) == 1
        assert world.agents_of("r1") == []
        saved = world.preserved()
        assert git("show", saved["refs/orchestrator/preserved/7/r1"] + ":work.txt",
                   cwd=world.repository()) == "half"


# Red when what a lost run left is told by the run's id alone.
def test_a_lost_run_costs_another_installation_nothing():
    with World("cd /; sleep 60") as lost, World("sleep 2\n" + AGENT) as other:
        for world in (other, lost):
            world.start_scheduler()
            world.start_runner()
            world.tell(world.command("r1"))
            wait_for(lambda: world.agent_starts("r1"))
        keeper = json.loads((lost.dir("r1") / "agent.pid").read_text())["keeper_pid"]
        os.kill(keeper, signal.SIGKILL)
        assert lost.result("r1")["outcome"] == "lost"
        assert other.result("r1")["outcome"] == "succeeded"


@pytest.mark.parametrize("point", [p for p in POINTS if p.startswith("merge-")])
@pytest.mark.parametrize("known", [True, False])
def test_one_kill_while_merging(point, known):
    """known: the command names the pull request; else it is found by its branch, and must be found
    again when it is no longer open. Red for known=False when merge.json is not read."""
    with World(AGENT) as world:
        world.start_scheduler()
        world.start_runner()
        work = world.run("r1")
        world.arm(point)
        pull = work["pull_request"] if known else None
        world.tell(world.command("m1", job_kind="merge", role=None, stage="deploy", entry=9,
                                 head=work["head"], pull_request=pull))
        world.runner_died()
        world.start_runner()
        result = world.result("m1")
        assert result["outcome"] == "succeeded", (result, world.log())
        main = git("rev-parse", "main", cwd=world.forge)
        assert result["detail"]["merge_commit"] == main
        assert git("rev-list", "--count", "--merges", "main", cwd=world.forge) == "1"
        [pull] = world.pulls()
        assert pull["merged"] and pull["state"] == "closed" and pull["merge_commit"] == main
        assert pull["head_sha"] == work["head"] == result["head"]
