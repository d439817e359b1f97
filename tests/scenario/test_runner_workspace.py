"""What agents leave in their workspaces: everything odd is taken in, or saved and put right; nothing
that an agent armed there runs when our own git works on it."""
import os
import subprocess
import time

import pytest

from runner_kit import World, git, wait_for

BRANCH = "feature/SHOP-1-a-thing"
RUN_1 = '[ "$ORCH_RUN" = r1 ] || { echo "$ORCH_RUN" > later.txt; exit 0; }\n'


def two_runs(agent, between=None):
    """The agent of r1 leaves something, r2 just works: both results and what can be seen after."""
    with World(RUN_1 + agent) as world:
        world.start_scheduler()
        world.start_runner()
        first = world.run("r1")
        if between:
            between(world)
        second = world.run("r2", entry=4, pull_request=first["pull_request"])
        seen = {"first": first, "second": second, "log": world.log(),
                "files": git("ls-tree", "-r", "--name-only", BRANCH, cwd=world.forge).split(),
                "commits": git("log", "--format=%s", BRANCH, cwd=world.forge).splitlines(),
                "preserved": {ref: git("ls-tree", "-r", "--name-only", commit,
                                       cwd=world.repository()).split()
                              for ref, commit in world.preserved().items()},
                "main": git("rev-list", "--count", "main", cwd=world.forge)}
        assert second["outcome"] == "succeeded", (second, world.log())
        assert seen["main"] == "1"
        assert "later.txt" in seen["files"]
        assert world.remote_head() == second["head"]
        return seen


# ---- locks, half-done operations, HEAD ----

# Red when git_remove_stale_locks is not called: every git of the second run fails.
def test_stale_locks_are_removed():
    def leave_locks(world):
        for name in ("index.lock", "HEAD.lock", "config.lock", "refs/heads/feature/x.lock",
                     f"refs/heads/{BRANCH}.lock"):
            (world.workspace() / ".git" / name).touch()
    assert two_runs("echo a > a.txt", leave_locks)["first"]["outcome"] == "succeeded"


def test_a_killed_git_of_the_agent_does_not_stop_its_commit():
    done = two_runs("echo a > a.txt; touch .git/index.lock .git/refs/heads/feature/y.lock")
    assert done["first"]["outcome"] == "succeeded" and "a.txt" in done["files"]


CONFLICT = """
git checkout -q -b side origin/main && echo side > c.txt && git add c.txt && git commit -qm side
git checkout -q {branch} && echo mine > c.txt && git add c.txt && git commit -qm mine
"""


@pytest.mark.parametrize("operation", ["merge side", "rebase side", "cherry-pick side"])
def test_something_half_done_is_saved_and_aborted(operation):
    done = two_runs(CONFLICT.format(branch=BRANCH) + f"git {operation}; echo more > d.txt; exit 0")
    assert done["first"]["outcome"] == "succeeded", done
    assert done["first"]["detail"]["preserved"] == "refs/orchestrator/preserved/7/r1"
    assert "d.txt" in done["preserved"]["refs/orchestrator/preserved/7/r1"]
    assert "c.txt" in done["files"] and "mine" in done["commits"]


def test_an_agent_that_committed_itself():
    done = two_runs("echo a > a.txt; git add a.txt; git commit -qm 'its own words'")
    assert done["first"]["outcome"] == "succeeded"
    assert done["commits"].count("its own words") == 1 and "a.txt" in done["files"]
    assert len(done["commits"]) == 3  # first, the agent's, r2's: none of ours beside the agent's


def test_an_agent_that_left_nothing():
    with World("exit 0") as world:
        world.start_scheduler()
        world.start_runner()
        result = world.run("r1")
        assert result["outcome"] == "succeeded" and result["pull_request"] is None
        assert result["gate"]["verdict"] == "fail" and "nothing to review" in str(result["gate"])
        assert world.pulls() == []
        # on a stage that only judges, nothing is what is expected of it
        later = world.run("r2", stage="deploy-staging", role="deployer", entry=5)
        assert later["outcome"] == "succeeded"
        assert later["gate"]["gate"] == "check_staging_status"
        assert later["gate"]["verdict"] == "fail"


@pytest.mark.parametrize("branch", ["git checkout -q -b my-own-branch", "git checkout -q --detach"])
def test_work_committed_elsewhere_on_top_of_the_branch_is_taken_in(branch):
    done = two_runs(f"{branch}; echo a > a.txt; git add a.txt; git commit -qm away; echo b > b.txt")
    assert done["first"]["outcome"] == "succeeded", done
    assert {"a.txt", "b.txt"} <= set(done["files"])


def test_an_agent_that_only_looked_at_an_older_commit():
    done = two_runs("echo a > a.txt; git add a.txt; git commit -qm work; git checkout -q HEAD~1")
    assert done["first"]["outcome"] == "succeeded" and "a.txt" in done["files"]


def test_work_beside_the_branch_is_saved_and_the_agents_fault():
    done = two_runs("echo z > z.txt; git add z.txt; git commit -qm on-branch\n"
                    "git checkout -q -b away HEAD~1; echo a > a.txt; git add a.txt\n"
                    "git commit -qm away; echo b > b.txt")
    assert (done["first"]["outcome"], done["first"]["class"]) == ("failed", "permanent")
    assert "away" in done["first"]["reason"]
    assert {"a.txt", "b.txt"} <= set(done["preserved"]["refs/orchestrator/preserved/7/r1"])
    assert "z.txt" in done["files"] and "a.txt" not in done["files"]


# ---- history ----

def test_an_agent_that_rewrote_its_own_unpushed_history():
    done = two_runs("echo a > a.txt; git add a.txt; git commit -qm one; echo b > b.txt\n"
                    "git add b.txt; git commit -q --amend -m two")
    assert done["first"]["outcome"] == "succeeded"
    assert "two" in done["commits"] and "one" not in done["commits"]


@pytest.mark.parametrize("rewrite", [
    "echo changed > base.txt; git commit -qam amended --amend",
    "git reset -q --hard HEAD~1; echo other > base.txt; git add base.txt; git commit -qm other",
])
def test_an_agent_that_rewrote_pushed_history_is_refused_and_the_next_one_goes_on(rewrite):
    agent = f"""case $ORCH_RUN in
r0) echo base > base.txt;;
r1) {rewrite};;
*) echo "$ORCH_RUN" > later.txt;;
esac
"""
    with World(agent) as world:
        world.start_scheduler()
        world.start_runner()
        before = world.run("r0")["head"]
        refused = world.run("r1", entry=4)
        assert (refused["outcome"], refused["class"]) == ("failed", "permanent"), world.log()
        assert "rewritten by the agent" in refused["reason"]
        assert world.remote_head() == before and refused["head"] is None  # it is not at the forge
        assert "refs/orchestrator/preserved/7/r1" in world.preserved()
        after = world.run("r2", entry=4, attempt=2)
        assert after["outcome"] == "succeeded", (after, world.log())
        assert git("merge-base", "--is-ancestor", before, after["head"], cwd=world.forge) == ""
        assert git("show", f"{BRANCH}:base.txt", cwd=world.forge) == "base"


# Red when rebase_on_theirs is left out.
def test_what_others_pushed_meanwhile_is_kept_below_ours():
    with World('echo "$ORCH_RUN" > "$ORCH_RUN.txt"; [ "$ORCH_RUN" = r0 ] || sleep 1\n') as world:
        world.start_scheduler()
        world.start_runner()
        world.run("r0")
        world.tell(world.command("r1", entry=4))
        wait_for(lambda: world.agent_starts("r1"))
        theirs = world.push_by_hand(BRANCH, {"theirs.txt": "x"})
        result = world.result("r1")
        assert result["outcome"] == "succeeded", (result, world.log())
        assert git("rev-parse", f"{BRANCH}~1", cwd=world.forge) == theirs
        assert len(world.commits_of("r1")) == 1
        assert "refs/orchestrator/preserved/7/r1" in world.preserved()


def test_a_conflict_with_what_others_pushed_is_for_a_person():
    with World('echo "$ORCH_RUN" > same.txt; [ "$ORCH_RUN" = r0 ] || sleep 1\n') as world:
        world.start_scheduler()
        world.start_runner()
        world.run("r0")
        world.tell(world.command("r1", entry=4))
        wait_for(lambda: world.agent_starts("r1"))
        theirs = world.push_by_hand(BRANCH, {"same.txt": "theirs\n"})
        result = world.result("r1")
        assert (result["outcome"], result["class"]) == ("failed", "permanent")
        assert world.remote_head() == theirs and result["head"] is None
        saved = world.preserved()["refs/orchestrator/preserved/7/r1"]
        assert git("show", f"{saved}:same.txt", cwd=world.repository()) == "r1"


def test_another_hand_that_rewrites_the_branch_is_for_a_person():
    with World('echo "$ORCH_RUN" > "$ORCH_RUN.txt"; [ "$ORCH_RUN" = r0 ] || sleep 1\n') as world:
        world.start_scheduler()
        world.start_runner()
        world.run("r0")
        world.tell(world.command("r1", entry=4))
        wait_for(lambda: world.agent_starts("r1"))
        theirs = world.push_by_hand(BRANCH, {"r0.txt": "rewritten\n"}, force=True)
        result = world.result("r1")
        assert (result["outcome"], result["class"]) == ("failed", "permanent")
        assert "another hand" in result["reason"] and world.remote_head() == theirs
        assert result["head"] is None


# ---- metadata ----

def test_a_broken_index_is_made_anew():
    done = two_runs("echo a > a.txt; printf garbage > .git/index")
    assert done["first"]["outcome"] == "succeeded" and "a.txt" in done["files"]


@pytest.mark.parametrize("ruin", ["rm -rf .git", "rm -rf .git && echo 'gitdir: /tmp' > .git",
                                  "mv .git git2 && ln -s git2 .git", "rm .git/HEAD",
                                  "rm -rf .git/objects", "git checkout -q --orphan none"])
def test_a_workspace_that_no_git_can_read_is_kept_aside_and_made_anew(ruin):
    with World(RUN_1 + f"echo a > a.txt; {ruin}; exit 0\n") as world:
        world.start_scheduler()
        world.start_runner()
        first = world.run("r1")
        assert (first["outcome"], first["class"]) == ("failed", "permanent"), (first, world.log())
        second = world.run("r2", entry=4, attempt=2)
        assert second["outcome"] == "succeeded", (second, world.log())
        kept = world.workspace().with_name(world.workspace().name + ".broken.1")
        assert (kept / "a.txt").exists() or "orphan" in ruin


ARM = r"""
printf '#!/bin/sh\necho "$0 $*" >> {hits}\ncat 2>/dev/null\n' > {hit}
chmod +x {hit}
mkdir -p {hooks}
for hook in post-checkout pre-commit post-index-change reference-transaction; do
  cp {hit} {hooks}/$hook
done
arm() {{
  for key in core.fsmonitor filter.evil.clean filter.evil.smudge filter.evil.process \
      diff.evil.textconv merge.evil.driver core.sshCommand core.pager uploadpack.packObjectsHook; do
    git -C "$1" config $key {hit}
  done
  git -C "$1" config core.hooksPath {hooks}
  git -C "$1" config alias.status "!{hit}"
  mkdir -p "$1/.git/info" "$1/.git/hooks"
  echo '* filter=evil diff=evil merge=evil' | tee "$1/.gitattributes" > "$1/.git/info/attributes"
  for hook in post-checkout pre-commit commit-msg post-commit post-merge pre-push \
      post-index-change reference-transaction pre-rebase post-rewrite prepare-commit-msg; do
    cp {hit} "$1/.git/hooks/$hook"
  done
}}
"""
ARM_ALL = r"""
git init -q nested; echo a > nested/f; echo same > nested/g; git -C nested add -A
git -C nested commit -qm n
git init -q loose
git add nested; git commit -qm 'a link to nested' 2>/dev/null
printf '[submodule "nested"]\n\tpath = nested\n\turl = ./nested\n\tignore = none\n' > .gitmodules
arm nested; arm loose; arm .
touch nested/g; echo b >> nested/f; echo x > loose/new; echo work > a.txt
git config --file .git/config.worktree core.fsmonitor {hit}
git config extensions.worktreeConfig true
rm -f {hits}; exit 0
"""


# Red: with `git add -A` for update-index or without --ignore-submodules (a filter of the repository
# below runs); with the configuration of the workspace left as the agent wrote it.
def test_nothing_that_an_agent_armed_runs_in_our_git():
    with World("") as world:
        names = {"hit": world.root / "hit", "hits": world.root / "hits",
                 "hooks": world.root / "hooks"}
        agent = RUN_1 + (ARM + ARM_ALL).format(**names)
        world.agent.write_text(world.agent.read_text() + agent)
        world.start_scheduler()
        world.start_runner()
        first = world.run("r1")
        assert names["hit"].exists(), "the agent armed nothing"
        assert first["outcome"] == "succeeded", (first, world.log())
        second = world.run("r2", entry=4)
        assert second["outcome"] == "succeeded", (second, world.log())
        merge = world.run("m1", job_kind="merge-gate", role=None, stage="deploy-staging", entry=5,
                          head=second["head"])
        assert merge["gate"]["verdict"] == "pass"
        cleanup = world.run("c1", job_kind="cleanup", role=None, stage="cancelled", entry=6)
        assert cleanup["outcome"] == "succeeded"
        assert not names["hits"].exists(), names["hits"].read_text()
        # what is armed would have run: the same in a plain git
        # (the workspace is gone, so a fresh repository shows that the script works)
        plain = world.root / "plain"
        git("init", "-q", plain)
        git("config", "core.fsmonitor", names["hit"], cwd=plain)
        git("status", cwd=plain)
        assert names["hits"].exists()


def test_a_link_in_the_metadata_leads_to_no_lock_of_others():
    with World("") as world:
        outside = world.root / "outside"
        outside.mkdir()
        (outside / "scheduler.lock").write_text("held")
        world.agent.write_text(world.agent.read_text() + RUN_1 +
                               f"echo a > a.txt; ln -s {outside} .git/refs/out; "
                               f"mkdir -p .git/refs/heads/deep; ln -s {outside} .git/refs/heads/deep/x\n")
        world.start_scheduler()
        world.start_runner()
        world.run("r1")
        world.run("r2", entry=4, attempt=2)
        assert (outside / "scheduler.lock").exists()


def test_names_that_are_hard_to_list():
    names = ["-rf", "a b", "tab\there", "new\nline", "quote\"s", "back\\slash", "*", ":(exclude)x",
             "ünï", "end "]
    script = "python3 - <<'EOF'\n" + "".join(
        f"open({name!r}, 'w').write('x')\n" for name in names) + "EOF\n"
    with World(script) as world:
        world.start_scheduler()
        world.start_runner()
        assert world.run("r1")["outcome"] == "succeeded", world.log()
        out = subprocess.run(["git", "ls-tree", "-r", "-z", "--name-only", BRANCH], cwd=world.forge,
                             capture_output=True, check=True).stdout.decode().split("\0")
        assert set(names) <= set(out)


def test_deletions_type_changes_and_modes_are_committed():
    agent = """case $ORCH_RUN in
r1) mkdir d; echo 1 > d/f; echo 2 > gone; echo 3 > file; echo 4 > mode; ln -s file link;;
*) rm gone; rm -r d; echo now-a-file > d; rm file; mkdir file; echo in > file/in; chmod +x mode
   rm link; echo no-link > link;;
esac
"""
    with World(agent) as world:
        world.start_scheduler()
        world.start_runner()
        world.run("r1")
        result = world.run("r2", entry=4)
        assert result["outcome"] == "succeeded", (result, world.log())
        tree = git("ls-tree", "-r", "--format=%(objectmode) %(path)", BRANCH,
                   cwd=world.forge).splitlines()
        assert sorted(tree) == ["100644 README", "100644 d", "100644 file/in", "100644 link",
                                "100755 mode"]
        assert git("status", "--porcelain", cwd=world.workspace()) == ""


# ---- the forge's own locks ----

# Red when forge_mend is left out: the push fails until an operator removes the lock by hand.
def test_a_lock_that_a_killed_push_left_in_the_forge_is_removed_once_it_is_old():
    with World('echo "$ORCH_RUN" > work.txt\n') as world:
        world.start_scheduler()
        world.start_runner()
        world.run("r1")
        lock = world.forge / "refs/heads" / f"{BRANCH}.lock"
        lock.touch()
        young = world.forge / "refs/heads/other.lock"
        young.touch()
        os.utime(lock, (time.time() - 120, time.time() - 120))
        result = world.run("r2", entry=4)
        assert result["outcome"] == "succeeded", (result, world.log())
        assert not lock.exists() and young.exists()
