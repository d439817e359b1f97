#!/usr/bin/env python3
"""Our share of stage-to-next-agent: the runner's two ways, from the command to the agent's first
instruction and from the agent's last one to the result, less the same git commands run bare.

Both are measured in one run, turn about: a stage of the runner, then its git commands (recorded once
from a real stage, with their environment and input) by a C program that only spawns and waits, in
repositories of the same shape. Prints one JSON object, times in milliseconds; the figure to hold is
"share" <= 5 ms, the median of the differences. The scheduler is a script that answers at once: what
the real one adds is measured with the whole set.
"""

import json
import os
import statistics
import subprocess
import sys
import time

from common import ROOT, TOOLS

sys.path.insert(0, str(ROOT / "tests/scenario"))
from runner_kit import World, wait_for  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "30"))
BRANCH = "feature/SHOP-1-a-thing"
RECORDER = """#!/usr/bin/env python3
import json, os, sys
text = sys.stdin.buffer.read().decode() if not os.isatty(0) else ""
with open({log!r}, "a") as log:
    log.write(json.dumps({{"argv": ["git"] + sys.argv[1:], "cwd": os.getcwd(), "input": text,
                          "env": [f"{{k}}={{v}}" for k, v in os.environ.items()]}}) + "\\n")
if text:
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(read)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    os.dup2(read, 0)
os.execv({git!r}, ["git"] + sys.argv[1:])
"""


class Stages:
    def __init__(self, world):
        self.world, self.count = world, 0

    def run(self):
        """One review stage; its name and when the command left and the result came (us)."""
        self.count += 1
        run = f"r{self.count}"
        result = self.world.run(run, stage="review", role="reviewer", entry=self.count)
        assert result["outcome"] == "succeeded" and result["gate"]["verdict"] == "pass", result
        handed = next(m for m in self.world.messages if m["kind"] == "run_start" and m["run"] == run)
        return run, handed["us"], result["us"]


def stamps(path):
    out = {}
    for line in path.read_text().splitlines():
        run, what, us = line.split()
        out[run, what] = int(us)
    return out


def record(world, stages):
    """The git commands of one stage: those before the agent and those after it."""
    log = world.root / "recorded"
    folder = world.root / "wrapped"
    folder.mkdir()
    git = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "git").write_text(RECORDER.format(log=str(log), git=git))
    (folder / "git").chmod(0o755)
    path = os.environ["PATH"]
    world.env["PATH"] = f"{folder}:{path}"
    world.kill_runner()
    world.start_runner()
    stages.run()
    del world.env["PATH"]
    world.kill_runner()
    world.start_runner()
    commands = [json.loads(line) for line in log.read_text().splitlines()]
    for command in commands:
        command["env"] = [f"PATH={path}" if v.startswith("PATH=") else v for v in command["env"]
                          if not v.startswith(("_=", "OLDPWD=", "PWD=", "SHLVL=", "LC_CTYPE="))]
    names = [command["argv"][1] for command in commands]
    after = names.index("status", names.index("status") + 1)
    return commands[:after], commands[after:]


class Bare:
    """The recorded commands in copies of the runner's repositories."""

    def __init__(self, world, before, after):
        self.home = world.root / "bare"
        for name in ("forge", "repos", "workspaces"):
            subprocess.run(["cp", "-r", world.home / name, self.home / name]
                           if self.home.exists() else
                           ["sh", "-c", f"mkdir {self.home} && cp -r {world.home}/{name} {self.home}"],
                           check=True)
        self.old, self.new = str(world.home) + "/", str(self.home) + "/"
        (self.home / "git").mkdir()
        subprocess.run(["cp", world.home / "git/config", self.home / "git/config"], check=True)
        self.before = [self.moved(command) for command in before]
        commit = [command["argv"][1] for command in after].index("commit") + 1
        self.to_commit = [self.moved(command) for command in after[:commit]]
        self.rest = [self.moved(command) for command in after[commit:]]
        self.workspace = self.home / "workspaces/SHOP-1_7"
        self.recorded_head = next(a.split(":")[0] for c in after if c["argv"][1] == "push"
                                  for a in c["argv"] if ":refs/heads/" in a)

    def moved(self, command):
        return json.loads(json.dumps(command).replace(self.old, self.new))

    def spawn(self, commands):
        done = subprocess.run([TOOLS / "bare_git"], input=json.dumps(commands), text=True,
                              capture_output=True, check=True)
        numbers = [int(word) for word in done.stdout.split()]
        return numbers[0], numbers[1:]

    def round(self, number):
        """(us before the agent, us after it, us of each command)."""
        before, each = self.spawn(self.before)
        review = self.workspace / "docs/work-items/SHOP-1/12-review.md"
        review.write_text(f"---\nverdict: APPROVED\n---\n\nbare {number}\n")
        first, more = self.spawn(self.to_commit)
        head = (self.workspace / ".git/refs/heads" / BRANCH).read_text().strip()
        blob = subprocess.run(["git", "rev-parse", f"{head}:docs/work-items/SHOP-1/12-review.md"],
                              cwd=self.workspace, capture_output=True, text=True,
                              check=True).stdout.strip()
        text = json.dumps(self.rest).replace(self.recorded_head, head)
        rest = json.loads(text)
        for command in rest:
            if command["argv"][1] == "cat-file":
                command["argv"][-1] = blob
        second, last = self.spawn(rest)
        return before, first + second, each + more + last


def main():
    with World("") as world:
        marks = world.root / "marks"
        world.config.write_text(world.config.read_text().replace(
            json.dumps([str(world.agent)]), json.dumps([str(TOOLS / "stage_agent"), str(marks)])))
        os.environ["FAKE_SCHEDULER_STAMPS"] = "1"
        world.start_scheduler()
        world.start_runner()
        stages = Stages(world)
        stages.run()
        stages.run()
        before, after = record(world, stages)
        bare = Bare(world, before, after)
        bare.round(0)
        stages.run()
        rows, costs = [], []
        for number in range(1, ROUNDS + 1):
            run, handed, came = stages.run()
            mark = stamps(marks)
            bare_before, bare_after, each = bare.round(number)
            rows.append((mark[run, "begin"] - handed, bare_before, came - mark[run, "end"], bare_after))
            costs.append(each)
            wait_for((world.dir(run) / "acked").exists)
            time.sleep(0.02)
    def middle(values):
        return round(statistics.median(values) / 1000, 2)
    names = [command["argv"][1] for command in before + after]
    print(json.dumps({
        "rounds": ROUNDS,
        "git before": {name: middle([cost[i] for cost in costs])
                       for i, name in enumerate(names[:len(before)])},
        "git after": {f"{i} {names[i]}": middle([cost[i] for cost in costs])
                      for i in range(len(before), len(names))},
        "command to agent": middle([row[0] for row in rows]),
        "its git bare": middle([row[1] for row in rows]),
        "agent to result": middle([row[2] for row in rows]),
        "that git bare": middle([row[3] for row in rows]),
        "share before": middle([row[0] - row[1] for row in rows]),
        "share after": middle([row[2] - row[3] for row in rows]),
        "share": middle([row[0] - row[1] + row[2] - row[3] for row in rows]),
        # on a busy machine the medians say more of its other work than of ours
        "quickest": {name: round(min(row[i] for row in rows) / 1000, 2) for i, name in enumerate(
            ("command to agent", "its git bare", "agent to result", "that git bare"))},
    }, indent=1))


if __name__ == "__main__":
    main()
