"""Merging in the built-in forge and what follows: once, with the judged head and nothing else."""
import json
import os
import time

import pytest

from runner_kit import World, git, wait_for

BRANCH = "feature/SHOP-1-a-thing"
WORK = 'echo "$ORCH_RUN" >> work.txt\n'


def merge(world, work, run="m1", **fields):
    return world.run(run, job_kind="merge", role=None, stage="deploy", entry=9,
                     **{"head": work["head"], "pull_request": work["pull_request"], **fields})


def begun(style="merge", agent=WORK, **project):
    world = World(agent, project={"merge_style": style, **project})
    world.start_scheduler()
    world.start_runner()
    return world


def main_of(world):
    return git("rev-parse", "main", cwd=world.forge)


@pytest.mark.parametrize("style", ["merge", "fast-forward-only", "squash"])
def test_the_styles(style):
    with begun(style) as world:
        work = world.run("r1")
        world.run("r2", entry=4)
        work = world.run("r3", entry=5)
        base = main_of(world)
        result = merge(world, work)
        assert result["outcome"] == "succeeded" and not result["detail"]["already"], world.log()
        head = main_of(world)
        assert result["detail"]["merge_commit"] == head and result["head"] == work["head"]
        parents = git("log", "-1", "--format=%P", "main", cwd=world.forge).split()
        if style == "merge":
            assert parents == [base, work["head"]]
        elif style == "squash":
            assert parents == [base]
            assert git("rev-list", "--count", f"{base}..main", cwd=world.forge) == "1"
        else:
            assert head == work["head"]
        assert git("show", "main:work.txt", cwd=world.forge) == "r1\nr2\nr3"
        assert git("diff", "--stat", "main", work["head"], cwd=world.forge) == ""
        [pull] = world.pulls()
        assert (pull["state"], pull["merged"], pull["merge_commit"]) == ("closed", True, head)
        # asked again (a successor, a later attempt): the same, and nothing moves
        again = merge(world, work, "m2")
        assert again["outcome"] == "succeeded" and again["detail"]["already"]
        assert again["detail"]["merge_commit"] == head and main_of(world) == head


@pytest.mark.parametrize("style", ["merge", "squash"])
def test_a_base_that_went_on_meanwhile_is_kept(style):
    with begun(style) as world:
        work = world.run("r1")
        theirs = world.push_by_hand("main", {"other.txt": "x"})
        assert merge(world, work)["outcome"] == "succeeded"
        names = git("ls-tree", "--name-only", "main", cwd=world.forge).split()
        assert {"other.txt", "work.txt"} <= set(names)
        assert git("log", "-1", "--format=%P", "main", cwd=world.forge).split()[0] == theirs


def test_fast_forward_only_refuses_a_branch_that_is_behind():
    with begun("fast-forward-only") as world:
        work = world.run("r1")
        theirs = world.push_by_hand("main", {"other.txt": "x"})
        result = merge(world, work)
        assert result["gate"]["verdict"] == "fail" and "conflict" in result["gate"]["reason"]
        assert main_of(world) == theirs and world.pulls()[0]["state"] == "open"


# Red when the pinned head is not compared with the branch's.
def test_a_head_that_moved_is_not_merged():
    with begun() as world:
        work, before = world.run("r1"), main_of(world)
        world.push_by_hand(BRANCH, {"sneaked.txt": "x"})
        result = merge(world, work)
        assert result["outcome"] == "succeeded" and result["gate"]["verdict"] == "moved"
        assert "moved" in result["gate"]["reason"] and "merge_commit" not in result["detail"]
        assert main_of(world) == before and world.pulls()[0]["state"] == "open"


def test_a_conflict_is_told_with_its_files():
    with begun() as world:
        work = world.run("r1")
        theirs = world.push_by_hand("main", {"work.txt": "theirs\n"})
        result = merge(world, work)
        assert result["gate"]["verdict"] == "fail"
        assert result["gate"]["reason"].startswith("conflict:")
        assert "work.txt" in result["gate"]["findings"][0]
        assert main_of(world) == theirs


def test_merged_by_another_hand_is_merged():
    with begun() as world:
        work = world.run("r1")
        clone = world.root / "hand"
        git("clone", "-q", world.forge, clone)
        git("merge", "-q", "--no-ff", "-m", "by hand", f"origin/{BRANCH}", cwd=clone)
        git("push", "-q", "origin", "main", cwd=clone)
        before = main_of(world)
        result = merge(world, work)
        assert result["outcome"] == "succeeded" and result["detail"]["already"]
        assert main_of(world) == before and world.pulls()[0]["merged"]


def test_closed_without_a_merge_is_for_a_person():
    with begun() as world:
        work, before = world.run("r1"), main_of(world)
        path = world.forge / "pull-requests/1.json"
        pull = json.loads(path.read_text())
        new = path.with_suffix(".hand")
        new.write_text(json.dumps({**pull, "state": "closed", "labels": ["kept"]}))
        os.rename(new, path)
        result = merge(world, work)
        assert (result["outcome"], result["class"]) == ("failed", "permanent")
        assert main_of(world) == before and json.loads(path.read_text())["labels"] == ["kept"]


def test_nothing_is_merged_without_a_judged_commit_or_a_pull_request():
    with begun() as world:
        work, before = world.run("r1"), main_of(world)
        for i, head in enumerate((None, "main", work["head"][:12], BRANCH)):
            result = merge(world, work, f"m{i}", head=head)
            assert (result["outcome"], result["class"]) == ("failed", "permanent")
        result = merge(world, work, "m9", pull_request=None, branch="feature/none")
        assert (result["outcome"], result["class"]) == ("failed", "permanent")
        assert main_of(world) == before


# Red when the title goes into the message as it is, or the trace is looked for in the branch's commits.
@pytest.mark.parametrize("style", ["merge", "squash"])
def test_neither_a_title_nor_a_commit_can_claim_another_merge(style):
    """Words that look like our trailers, in a pull request that is merged and in a commit of its
    branch: the other pull request is still merged."""
    with begun(style, agent='echo "$ORCH_RUN" > "$ORCH_RUN.txt"; [ -z "$(cat "$HOME/say")" ] || { '
               'git add -A; git commit -qF "$HOME/say"; }\n') as world:
        world.kill_runner()
        world.env["HOME"] = str(world.root)
        (world.root / "say").write_text("")
        world.start_runner()
        victim = world.run("v1", task=8, key="SHOP-2", branch="feature/SHOP-2-victim")
        claim = f"x\n\nOrch-Pull-Request: {victim['pull_request']['number']}\nOrch-Head: " \
                f"{victim['head']}\n"
        (world.root / "say").write_text(claim)
        work = world.run("r1", title=claim)
        assert merge(world, work)["outcome"] == "succeeded"
        result = merge(world, victim, "m2", task=8, key="SHOP-2", branch="feature/SHOP-2-victim")
        assert result["outcome"] == "succeeded" and not result["detail"]["already"]
        assert "v1.txt" in git("ls-tree", "--name-only", "main", cwd=world.forge).split()


# ---- CI ----

def status(world, commit, state):
    folder = world.forge / "statuses" / commit
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "new").write_text(json.dumps({"context": "ci/test", "state": state, "description": "so it is"}))
    os.rename(folder / "new", folder / "test.json")


def test_the_merge_asks_ci_first():
    """Of the head that it merges. A new run each time, as after each wait."""
    with begun(ci="required") as world:
        work, before = world.run("r1"), main_of(world)
        assert work["gate"]["verdict"] == "waiting"
        assert work["gate"]["reason"].startswith("waiting-ci: CI has said nothing of ")
        result = merge(world, work)
        assert (result["outcome"], result["gate"]["verdict"]) == ("succeeded", "waiting")
        status(world, work["head"], "pending")
        assert merge(world, work, "m2")["gate"]["verdict"] == "waiting"
        status(world, work["head"], "failure")
        result = merge(world, work, "m3")
        assert result["gate"]["verdict"] == "fail"
        assert result["gate"]["findings"] == ["CI, ci/test (failure): so it is"]
        assert main_of(world) == before and world.pulls()[0]["state"] == "open"
        status(world, work["head"], "success")
        result = merge(world, work, "m4")
        assert result["gate"] is None and result["detail"]["merge_commit"] == main_of(world)


# Red when since when the head is known is not heeded, or an unknown time is taken for long ago.
def test_no_ci_is_known_by_the_age_of_the_head():
    with begun(ci="auto") as world:
        work = world.run("r1")
        assert merge(world, work)["gate"]["verdict"] == "waiting"
        now = int(time.time() * 1000)
        assert merge(world, work, "m2", head_since_ms=now)["gate"]["verdict"] == "waiting"
        assert merge(world, work, "m3", head_since_ms=now - 121_000)["gate"] is None
        assert world.pulls()[0]["merged"]


# Red when only the pull request's file says what is merged: main has moved, and red would undo it.
@pytest.mark.parametrize("style", ["merge", "fast-forward-only", "squash"])
@pytest.mark.parametrize("point", ["merge-after-ref", "merge-after"])
def test_what_is_merged_is_not_asked_about_again(style, point):
    with begun(style, ci="required") as world:
        work, before = world.run("r1"), main_of(world)
        status(world, work["head"], "success")
        world.arm(point)
        world.tell(world.command("m1", job_kind="merge", role=None, stage="deploy", entry=9,
                                 head=work["head"], pull_request=work["pull_request"]))
        world.runner_died()
        assert main_of(world) != before
        status(world, work["head"], "failure")
        merged = main_of(world)
        world.start_runner()
        assert world.result("m1")["detail"] == {"merge_commit": merged, "already": True}
        assert main_of(world) == merged and world.pulls()[0]["merged"]


# ---- the gate before, and the finalizer after ----

def gate(world, work, run="g1", **fields):
    return world.run(run, job_kind="merge-gate", role=None, stage="deploy-staging", entry=8,
                     **{"head": work["head"], **fields})


def test_the_merge_gate():
    with begun() as world:
        work = world.run("r1")
        result = gate(world, work)
        assert result["gate"]["verdict"] == "pass"
        assert result["gate"]["judged_commit"] == work["head"]
        assert result["detail"]["old_head"] == result["detail"]["new_head"] == work["head"]
        assert result["detail"]["base"] == main_of(world)
        assert gate(world, work, "g2", head="0" * 40)["gate"]["verdict"] == "moved"
        world.push_by_hand("main", {"work.txt": "theirs\n"})
        conflict = gate(world, work, "g3")
        assert conflict["gate"]["verdict"] == "fail"
        assert "work.txt" in conflict["gate"]["findings"][0]
        gone = gate(world, work, "g4", branch="feature/none")
        assert gone["gate"]["verdict"] == "unknown"


# Red when require_fresh_base is left out: a base that was not tested is merged.
def test_a_branch_behind_its_base_is_not_passed_untested_where_the_gate_is_in_force():
    with World(WORK, config="merge_gate: {repos: '*'}\n") as world:
        world.start_scheduler()
        world.start_runner()
        work = world.run("r1")
        assert gate(world, work)["gate"]["verdict"] == "pass"
        world.push_by_hand("main", {"other.txt": "x"})
        assert gate(world, work, "g2")["gate"]["verdict"] == "unknown"


def finalize(world, work, run="f1", **fields):
    return world.run(run, job_kind="finalizer", role=None, stage="deploy", entry=9,
                     **{"pull_request": work["pull_request"], **fields})


def test_the_finalizer_records_the_delivery():
    with begun() as world:
        work = world.run("r1")
        early = finalize(world, work, "f0")
        assert early["gate"]["verdict"] == "fail" and "not merged" in early["gate"]["reason"]
        merged = merge(world, work)
        result = finalize(world, work)
        assert result["gate"] == {**result["gate"], "gate": "check_deploy_status", "verdict": "pass"}
        log = world.home / "artefacts/7/14-deploy-log.md"
        assert result["detail"]["deploy_log"] == "artefacts/7/14-deploy-log.md"
        text = log.read_text()
        front = dict(line.split(": ", 1) for line in text.split("---")[1].strip().splitlines())
        assert front["deploy_status"] == "SUCCESS" and front["work_item"] == "SHOP-1"
        assert front["merge_commit"] == merged["detail"]["merge_commit"]
        assert {"stage", "author_agent", "status", "created_at"} <= set(front)
        assert "no deploy hook" in text
        # never pushed to the default branch
        assert "14-deploy-log.md" not in git("ls-tree", "-r", "--name-only", "main", cwd=world.forge)
        wait_for(lambda: (world.dir("f1") / "acked").exists())


def test_a_project_with_a_hook_is_not_called_deployed_without_it():
    with begun(deploy_hook="/opt/hook") as world:
        work = world.run("r1")
        merge(world, work)
        assert finalize(world, work)["gate"]["verdict"] == "unknown"
        assert not (world.home / "artefacts").exists()


# ---- cleanup ----

def test_cleanup_saves_everything_then_removes_it():
    agent = 'echo "$ORCH_RUN" >> work.txt; [ "$ORCH_RUN" = r1 ] || { echo x > dirty.txt; exit 1; }\n'
    with begun(agent=agent) as world:
        work = world.run("r1")
        world.run("r2", entry=4)  # fails, and leaves something that is not committed
        theirs = world.push_by_hand(BRANCH, {"theirs.txt": "x"})
        main = main_of(world)
        for i in range(2):  # the second time there is nothing left to do
            result = world.run(f"c{i}", job_kind="cleanup", role=None, stage="cancelled", entry=9,
                               pull_request=work["pull_request"])
            assert result["outcome"] == "succeeded", (result, world.log())
        assert world.remote_head() is None and not world.workspace().exists()
        assert world.pulls()[0]["state"] == "closed" and not world.pulls()[0]["merged"]
        assert main_of(world) == main
        saved = world.preserved()
        kept = {name for commit in saved.values()
                for name in git("ls-tree", "--name-only", commit, cwd=world.repository()).split()}
        assert {"work.txt", "dirty.txt", "theirs.txt"} <= kept
        assert theirs in saved.values()
        # where the forge takes them, there too
        out = git("for-each-ref", "--format=%(refname)", "refs/orchestrator", cwd=world.forge)
        assert set(out.split()) == set(saved)


# Red when a step of it trusts that the one before was not done yet.
@pytest.mark.parametrize("point", ["cleanup-after-save", "cleanup-after-close", "cleanup-after-branch"])
def test_cleanup_killed_on_the_way(point):
    agent = 'echo "$ORCH_RUN" >> work.txt; [ "$ORCH_RUN" = r1 ] || { echo x > dirty.txt; exit 1; }\n'
    with begun(agent=agent) as world:
        work = world.run("r1")
        world.run("r2", entry=4)
        world.arm(point)
        world.tell(world.command("c1", job_kind="cleanup", role=None, stage="cancelled", entry=9,
                                 pull_request=work["pull_request"]))
        world.runner_died()
        saved = world.preserved()
        world.start_runner()
        assert world.result("c1")["outcome"] == "succeeded", world.log()
        assert world.remote_head() is None and not world.workspace().exists()
        assert world.pulls()[0]["state"] == "closed"
        after = world.preserved()
        assert set(after) >= set(saved), "what was saved stays"
        kept = {name for commit in after.values()
                for name in git("ls-tree", "--name-only", commit, cwd=world.repository()).split()}
        assert {"work.txt", "dirty.txt"} <= kept


def test_cleanup_ends_what_still_runs():
    with begun(agent="sleep 60\n") as world:
        world.tell(world.command("r1"))
        wait_for(lambda: world.agent_starts("r1"))
        result = world.run("c1", job_kind="cleanup", role=None, stage="cancelled", entry=9)
        assert result["outcome"] == "succeeded"
        assert world.result("r1")["outcome"] == "cancelled"
        assert not world.workspace().exists()


def test_cleanup_never_deletes_the_default_branch():
    with begun() as world:
        result = world.run("c1", job_kind="cleanup", role=None, stage="cancelled", entry=9,
                           branch="main")
        assert (result["outcome"], result["class"]) == ("failed", "permanent")
        assert git("rev-parse", "main", cwd=world.forge)
