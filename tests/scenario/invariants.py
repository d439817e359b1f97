"""What must hold after every finished journey, whatever was killed on the way. Looked at from outside."""

from collections import Counter

from harness import git

PLAIN = ["analysis", "architecture", "development", "review", "testing", "deploy-staging", "deploy",
         "done"]


def expected_stages(rejections):
    """Stages in order for a task whose reviewer rejects so many times."""
    again = ["development", "review"] * rejections
    return PLAIN[:4] + again + PLAIN[4:]


def check_transitions(task, rejections):
    found = [transition["to"] for transition in task["transitions"]]
    if found and found[0] == "created":
        found = found[1:]
    assert found == expected_stages(rejections), found


def check_runs(instance, task):
    """Each run's agent was started exactly once, and nothing ran that is not recorded."""
    recorded = {run["id"]: run for run in task["runs"]}
    started = Counter(line[0] for line in instance.starts() if line[4] == "start"
                      and line[0].rsplit("-j", 1)[0] == task["key"])
    twice = {run: count for run, count in started.items() if count != 1}
    assert not twice, f"agents started more than once: {twice}"
    unknown = set(started) - set(recorded)
    assert not unknown, f"agents without a recorded run: {unknown}"
    agent_runs = {run for run, row in recorded.items() if row["role"]}
    never = {run for run in agent_runs - set(started) if recorded[run]["exit_code"] == 0}
    assert not never, f"runs recorded as successful without an agent: {never}"


def check_jobs(task):
    live = [job for job in task["jobs"] if job["state"] in ("queued", "running")]
    assert not live, f"jobs left: {live}"


def check_forge(instance, task):
    pulls = [path for path in (instance.repo / "pull-requests").glob("*.json")]
    import json
    own = [json.loads(path.read_text()) for path in pulls]
    own = [pull for pull in own if pull["head"] == task["branch"]]
    assert len(own) == 1, f"pull requests of {task['branch']}: {own}"
    assert own[0]["merged"] is True and own[0]["state"] == "closed", own[0]
    merges = git(instance.repo, "log", "--first-parent", "--format=%H %P", "main").splitlines()
    head = git(instance.repo, "rev-parse", task["branch"])
    mine = [line for line in merges if head in line.split()[1:]]
    assert len(mine) == 1, f"{task['key']} was merged {len(mine)} times"
    assert mine[0].split()[0] == own[0]["merge_commit"], (mine, own[0])
    for name in ("01-brd.md", "12-review.md", "13-test-report.md"):
        git(instance.repo, "cat-file", "-e", f"main:docs/work-items/{task['key']}/{name}")
    for commit in git(instance.repo, "log", "--format=%H", f"main..{task['branch']}").split():
        raise AssertionError(f"not merged: {commit}")


def check_commits(instance, task):
    """One commit per run at most: the trailer says whose."""
    trailers = git(instance.repo, "log", "--format=%(trailers:key=Orch-Run,valueonly)",
                   task["branch"]).split()
    twice = {run: count for run, count in Counter(trailers).items() if count > 1}
    assert not twice, f"committed twice: {twice}"


def check_comments(instance, task, rejections):
    """Each thing is said once. Two comments of one author with the same text are one said twice."""
    comments = instance.issue(task["key"])["comments"]
    texts = Counter((comment["author"], comment["body"]) for comment in comments)
    finished = Counter(comment["author"] for comment in comments
                       if " done · " in comment["body"] or " done" in comment["body"][:40])
    twice = {text: count for text, count in texts.items()
             if count > 1 and "said once" not in text[1]}
    # the same stage entered twice says the same words twice: only what names a run is unique
    named = {text: count for text, count in twice.items() if "-r" in text[1] or " done · " in text[1]}
    assert not named, f"said twice: {named}"
    summaries = [comment for comment in comments if "Σ" in comment["body"]]
    assert len(summaries) == 1, f"{len(summaries)} summaries"
    return finished


def check_all(instance, key, rejections=0):
    task = instance.task(key)
    assert task["stage"] == "done", task
    check_transitions(task, rejections)
    check_jobs(task)
    check_runs(instance, task)
    check_forge(instance, task)
    check_commits(instance, task)
    instance.wait_for(lambda: instance.issue(key)["status"] == "Done", 20, f"{key} shows Done")
    instance.wait_for(lambda: any("Σ" in comment["body"]
                                  for comment in instance.issue(key)["comments"]), 20, "summary")
    check_comments(instance, task, rejections)
