"""What the runner's scenario tests share: a home, a forge, a fake scheduler, the runner, scripts that
play the agent. Everything lives in a throw-away directory and is ended by pid."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

BIN = Path(os.environ.get("ORCH_TEST_BIN", "build/bin")).resolve()
TOOLS = BIN.parent / "test-bin"
GIT_ENV = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "person", "GIT_AUTHOR_EMAIL": "person@example.org",
    "GIT_COMMITTER_NAME": "person", "GIT_COMMITTER_EMAIL": "person@example.org",
}


def git(*arguments, cwd=None, check=True):
    done = subprocess.run(["git", *map(str, arguments)], cwd=cwd, env=GIT_ENV, text=True,
                          capture_output=True)
    if check and done.returncode:
        raise AssertionError(f"git {arguments}: {done.stderr}")
    return done.stdout.strip()


def wait_for(what, seconds=20, every=0.01):
    """Until what() is truthy; returns it. A test that hangs fails here and says so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(every)
    raise AssertionError("waited in vain")


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def processes_with(text):
    """Pids of living processes whose environment holds this text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if text.encode() in (entry / "environ").read_bytes() and alive(entry.name):
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


class World:
    """One installation. agent: the text of a shell script that plays every role."""

    def __init__(self, agent, project=None, config="", more=()):
        self.root = Path(tempfile.mkdtemp(prefix="run-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
        self.home, self.run_dir = self.root / "home", self.root / "r"
        self.crash = self.root / "crash"
        for folder in (self.home / "forge", self.run_dir, self.crash):
            folder.mkdir(parents=True)
        self.run_dir.chmod(0o700)
        self.starts = self.root / "starts"  # a line per start of an agent
        self.agent = self.root / "agent"
        self.agent.write_text("#!/bin/bash\necho \"$ORCH_RUN $$\" >> " + str(self.starts) + "\n" +
                              agent)
        self.agent.chmod(0o755)
        entry = {"key": "SHOP", "tracker": "local", "forge": "local", "agent": "command",
                 "agent_command": [str(self.agent)], "repo": "shop", "ci": "none"}
        entry.update(project or {})
        projects = [entry] + [{**entry, **other} for other in more]
        self.config = self.root / "orchestrator.yaml"
        self.config.write_text(f"home: {self.home}\nrun_dir: {self.run_dir}\n"
                               f"projects: {json.dumps(projects)}\n" + config)
        self.forge = self.home / "forge" / "shop.git"
        self.scheduler = self.runner = None
        self.messages = []
        # a script that plays an agent writes all over the world; test_cage.py has the cage
        self.env, self.clean = {"ORCH_AGENT_SANDBOX": "none"}, False  # of the runner; clean: without ours beside
        for project in projects:
            self.make_forge(self.home / "forge" / f"{project['repo']}.git")

    def make_forge(self, path):
        git("init", "-q", "--bare", "-b", "main", path)
        seed = self.root / f"seed-{path.name}"
        git("init", "-q", "-b", "main", seed)
        (seed / "README").write_text("shop\n")
        git("add", "-A", cwd=seed)
        git("commit", "-q", "-m", "first", cwd=seed)
        git("push", "-q", path, "main", cwd=seed)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.runner, self.scheduler):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        for pid in processes_with(str(self.root)):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.root, ignore_errors=True)

    def agents_of(self, run):
        """Pids of what the run's agent left alive. Other worlds have runs of the same id."""
        ours = f"ORCH_WORKSPACE={self.home}/"
        return [pid for pid in processes_with(f"ORCH_RUN={run}\0") if pid in processes_with(ours)]

    def start_scheduler(self):
        self.scheduler = subprocess.Popen([TOOLS / "fake_scheduler", self.run_dir], text=True,
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._read, args=(self.scheduler,), daemon=True).start()

    def _read(self, scheduler):
        for line in scheduler.stdout:
            self.messages.append(json.loads(line))

    def start_runner(self, program=None, **env):
        log = open(self.root / "runner.log", "a")
        ours = {} if self.clean else os.environ
        self.runner = subprocess.Popen(
            [program or BIN / "orch-runner", "-c", self.config], stderr=log,
            env={**ours, "ORCH_CRASH_DIR": str(self.crash), **self.env, **env})
        log.close()

    def wrap_git(self, script):
        """A git of our own first in the runner's PATH; "$GIT" in the script is the real one, which it
        has to call in the end."""
        folder = self.root / "wrapped"
        folder.mkdir(exist_ok=True)
        path = folder / "git"
        path.write_text(f"#!/bin/bash\nGIT={shutil.which('git')}\n{script}\n")
        path.chmod(0o755)
        self.env["PATH"] = f"{folder}:{os.environ['PATH']}"

    def stop_scheduler(self):
        self.scheduler.kill()
        self.scheduler.wait()

    def kill_runner(self):
        self.runner.kill()
        self.runner.wait()

    def arm(self, *points):
        """The next process that passes one of these crash points is killed there."""
        for point in points:
            (self.crash / point).touch()

    def armed(self):
        return sorted(path.name for path in self.crash.iterdir())

    def runner_died(self, seconds=20):
        wait_for(lambda: self.runner.poll() is not None, seconds)
        assert self.runner.returncode == -signal.SIGKILL, self.log()

    def keep_running(self, until, seconds=120):
        """Starts the runner again whenever it has died, until until()."""
        def look():
            if self.runner.poll() is not None:
                self.start_runner()
            return until()
        return wait_for(look, seconds)

    def tell(self, message):
        text = message if isinstance(message, str) else json.dumps(message)
        self.scheduler.stdin.write(text + "\n")
        self.scheduler.stdin.flush()

    def command(self, run, **fields):
        return {"v": 1, "kind": "run_start", "id": "x", "run": run, "job": 1, "job_kind": "agent",
                "task": 7, "key": "SHOP-1", "project": "SHOP", "entry": 3, "stage": "development",
                "role": "developer", "attempt": 1, "branch": "feature/SHOP-1-a-thing",
                "title": "A thing", "description": "Do it.", "comments": [], "findings": [],
                "pull_request": None, "head": None, "resume_session": None,
                "first_of_entry": True, "timeout_ms": 60000,
                "deadline_ms": int(time.time() * 1000) + 60000, **fields}

    def order_stop(self, run):
        self.tell({"v": 1, "kind": "run_stop", "id": "s", "run": run, "reason": "stopped: by ada"})

    def run(self, run, **fields):
        """Commands a run and waits for its result."""
        self.tell(self.command(run, **fields))
        return self.result(run)

    def results(self, run):
        return [m for m in self.messages if m["kind"] == "run_result" and m["run"] == run]

    def result(self, run, seconds=20):
        return wait_for(lambda: self.results(run), seconds)[0]

    def dir(self, run):
        return self.home / "runs" / run

    def agent_starts(self, run):
        """Pids of the agents that were started for a run."""
        lines = self.starts.read_text().splitlines() if self.starts.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == run]

    def remote_head(self, branch="feature/SHOP-1-a-thing"):
        out = git("ls-remote", self.forge, f"refs/heads/{branch}")
        return out.split()[0] if out else None

    def push_by_hand(self, branch, files, message="by hand", force=False):
        """What a person does: a commit on a branch of the forge. Its name."""
        clone = Path(tempfile.mkdtemp(dir=self.root))
        git("clone", "-q", "-b", branch, self.forge, clone)
        for name, text in files.items():
            (clone / name).write_text(text)
        git("add", "-A", cwd=clone)
        git("commit", "-q", "-m", message, *(["--amend"] if force else []), cwd=clone)
        git("push", "-q", *(["-f"] if force else []), "origin", branch, cwd=clone)
        return git("rev-parse", "HEAD", cwd=clone)

    def workspace(self, key="SHOP-1", task=7):
        return self.home / "workspaces" / f"{key}_{task}"

    def repository(self):
        return next((self.home / "repos").glob("*.git"))

    def preserved(self):
        """ref -> commit of everything that was saved."""
        out = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/orchestrator/preserved",
                  cwd=self.repository())
        return dict(line.split() for line in out.splitlines())

    def log(self):
        return (self.root / "runner.log").read_text()

    def pulls(self):
        folder = self.forge / "pull-requests"
        return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]

    def commits_of(self, run, branch="feature/SHOP-1-a-thing"):
        out = git("log", "--format=%H %(trailers:key=Orch-Run,valueonly,separator=%x20)", branch,
                  cwd=self.forge)
        return [line for line in out.splitlines() if line.split()[1:] == [run]]
