"""What must hold after every finished journey, whatever was killed on the way. Looked at from outside."""

import json
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


def check_deploys(instance, task):
    """By the hook, of what was merged, once: whoever was killed meanwhile."""
    pulls = [json.loads(path.read_text()) for path in (instance.repo / "pull-requests").glob("*.json")]
    merges = [pull["merge_commit"] for pull in pulls if pull["head"] == task["branch"] and pull["merged"]]
    counts = [instance.deployed().count(commit) for commit in merges]
    assert counts == [1] * len(merges) and counts, f"{task['branch']} was deployed {counts} times"


def check_commits(instance, task):
    """One commit per run at most: the trailer says whose."""
    trailers = git(instance.repo, "log", "--format=%(trailers:key=Orch-Run,valueonly)",
                   task["branch"]).split()
    twice = {run: count for run, count in Counter(trailers).items() if count > 1}
    assert not twice, f"committed twice: {twice}"


LABELS = {"analysis": "Analysis", "architecture": "Architecture", "development": "Development",
          "review": "Code Review", "testing": "Testing", "deploy-staging": "Deploying (staging)",
          "deploy": "Deploying", "done": "Done"}


def expected_statuses(rejections):
    shown = [LABELS[stage] for stage in expected_stages(rejections)]
    return shown[:1] + ["Awaiting Approval"] + shown[1:]


def check_statuses(issue, rejections):
    """What the tracker showed is what a fault-free run shows, in its order and none of it twice. A
    status that a newer one overtook before it was delivered may be missing."""
    shown = [row["status"] for row in issue["status_history"] if row["actor"] == "stream"]
    left = iter(expected_statuses(rejections))
    assert all(status in left for status in shown), shown
    assert shown[-1] == "Done", shown


def dropped_starts(instance, key):
    """How many start comments of each role the end of the task dropped undelivered. It drops no
    other comment."""
    rows = instance.rows("SELECT e.author, e.body FROM effects e JOIN tasks t ON t.id = e.task"
                         " WHERE t.key = ? AND e.kind = 'comment' AND e.state = 'dropped'", key)
    assert all(" started \u00b7 attempt " in body[:60] for _, body in rows), rows
    return Counter(author for author, _ in rows)


def check_comments(issue, task, rejections, dropped, beside=0):
    """Each thing is said as often as in a fault-free run: once per transition, per started run (less
    what the end dropped undelivered), per task; beside: what stream says beside the transitions."""
    comments = issue["comments"]
    by_stream = [comment["body"] for comment in comments if comment["author"] == "stream"]
    # all arrivals but the first row (created) and done, which the summary tells of
    assert len(by_stream) == len(expected_stages(rejections)) - 1 + beside, by_stream
    for role in ("analyst", "architect", "developer", "reviewer", "tester"):
        runs = [run for run in task["runs"] if run["role"] == role and run["started_at"]]
        own = [comment["body"] for comment in comments if comment["author"] == role]
        started = [body for body in own if " started \u00b7 attempt " in body[:60]]
        ended = [body for body in own if " done \u00b7 " in body[:60] or " failed: " in body[:60]]
        assert len(ended) == len(runs), (role, own, runs)
        lost = [run for run in runs if run["outcome"] == "lost"]
        told = len(started) + dropped[role]
        assert len(runs) - len(lost) <= told <= len(runs), (role, own, runs)
    asked = [body for body in (comment["body"] for comment in comments
                               if comment["author"] == "analyst") if "The analysis is ready" in body]
    assert len(asked) == 1, asked
    summaries = [comment for comment in comments if "\u03a3" in comment["body"]]
    assert len(summaries) == 1, f"{len(summaries)} summaries"
    assert len(comments) == len({comment["id"] for comment in comments})


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
    issue = instance.issue(key)
    check_statuses(issue, rejections)
    check_comments(issue, task, rejections, dropped_starts(instance, key))


def check_end(instance, key):
    """What holds whatever became of its agents on the way."""
    task = instance.task(key)
    check_jobs(task)
    check_runs(instance, task)
    check_forge(instance, task)
    check_commits(instance, task)
    comments = [comment["id"] for comment in instance.issue(key)["comments"]]
    assert len(comments) == len(set(comments)), f"{key}: said twice"
    lost = [run for run in task["runs"] if run["outcome"] == "lost"]
    attempts = Counter((run["job"], run["attempt"]) for run in task["runs"] if run["outcome"] == "lost")
    assert all(count <= 3 for count in attempts.values()), (key, attempts)
    return len(lost)
