"""The runner against a scripted scheduler: a command in, work committed, pushed, judged, told."""
from runner_kit import World, git, wait_for

WORK = 'echo "work of $ORCH_RUN" > work.txt\n'


def test_a_run_is_committed_pushed_opened_and_told_once():
    with World(WORK) as world:
        world.start_scheduler()
        world.start_runner()
        result = world.run("SHOP-1-j1-r1")
        assert result["outcome"] == "succeeded", (result, world.log())
        assert result["gate"]["verdict"] == "pass"
        assert result["gate"]["gate"] == "check_ci_green"
        head = git("rev-parse", "feature/SHOP-1-a-thing", cwd=world.forge)
        assert result["head"] == result["gate"]["judged_commit"] == head
        assert git("show", f"{head}:work.txt", cwd=world.forge) == "work of SHOP-1-j1-r1"
        assert git("log", "-1", "--format=%an %ae", head, cwd=world.forge).startswith("developer ")
        pulls = world.pulls()
        assert len(pulls) == 1 and pulls[0]["state"] == "open" and pulls[0]["head_sha"] == head
        assert result["pull_request"]["number"] == 1
        assert git("rev-list", "--count", "main", cwd=world.forge) == "1"
        kinds = [m["kind"] for m in world.messages]
        assert kinds.index("run_accepted") < kinds.index("run_started") < kinds.index("run_result")
        wait_for(lambda: (world.dir("SHOP-1-j1-r1") / "acked").exists())
        assert len(world.starts.read_text().splitlines()) == 1


# Red when only a watched agent is told of: this one has ended when the runner first looks.
def test_an_agent_that_ended_before_anybody_watched_is_told_of():
    with World(WORK) as world:
        world.start_scheduler()
        world.arm("run-after-spawn")
        world.start_runner()
        world.tell(world.command("r1"))
        world.runner_died()
        wait_for((world.dir("r1") / "status").exists)
        world.start_runner()
        assert world.result("r1")["outcome"] == "succeeded"
        kinds = [m["kind"] for m in world.messages if m["run"] == "r1"]
        assert kinds.count("run_started") == 1
        assert kinds.index("run_started") < kinds.index("run_result")


def test_a_second_run_goes_on_in_the_same_workspace_and_pull_request():
    with World('echo "$ORCH_RUN" >> work.txt\n') as world:
        world.start_scheduler()
        world.start_runner()
        first = world.run("r1")
        second = world.run("r2", pull_request=first["pull_request"], entry=4)
        assert second["outcome"] == "succeeded", (second, world.log())
        assert git("show", "feature/SHOP-1-a-thing:work.txt", cwd=world.forge) == "r1\nr2"
        pulls = world.pulls()
        assert len(pulls) == 1 and pulls[0]["head_sha"] == second["head"] != first["head"]
