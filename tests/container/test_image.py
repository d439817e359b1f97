"""The image as a user runs it: docker alone, volumes, signals. Skipped where no engine answers; the base
image is made by debootstrap where none can be pulled. Everything is on loopback."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = "/var/lib/orchestrator"
SERVICES = ["scheduler", "ingress", "runner", "notifier", "reconciler", "reaper", "monitor"]


def docker(*arguments, check=True):
    done = subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, check=False)
    assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout.strip()


def no_engine():
    if not shutil.which("docker"):
        return "no docker here"
    done = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else "no docker engine answers"


@pytest.fixture(scope="session")
def image():
    if no_engine():
        pytest.skip(no_engine())
    if not docker("images", "-q", "debian:trixie-slim"):
        subprocess.run([ROOT / "tests/container/base-image"], check=True, timeout=600)
    subprocess.run(["make", "-s", "image"], cwd=ROOT, check=True, timeout=900,
                   stdout=subprocess.DEVNULL)
    return "orchestrator:latest"


class Container:
    """One container with volumes of its own, and a folder that is mounted for what the agents are."""

    def __init__(self, image, *options, config=None):
        self.name = f"orch-test-{uuid.uuid4().hex[:8]}"
        self.dir = Path(tempfile.mkdtemp(prefix="oc-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
        self.dir.chmod(0o755)
        mounts = ["-v", f"{self.name}-data:{HOME}", "-v", f"{self.name}-run:/run/orchestrator"]
        if config:
            (self.dir / "orchestrator.yaml").write_text(json.dumps(config))
            mounts += ["-v", f"{self.dir}/orchestrator.yaml:/etc/orchestrator/orchestrator.yaml:ro",
                       "-v", f"{self.dir}:/opt/test",
                       "-e", "PATH=/opt/test:/usr/local/bin:/usr/bin:/bin"]
        docker("create", "--name", self.name, "-p", "127.0.0.1::8500", *mounts, *options, image)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        docker("rm", "-f", self.name, check=False)
        docker("volume", "rm", f"{self.name}-data", f"{self.name}-run", check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        docker("start", self.name)
        self.port = docker("port", self.name, "8500/tcp").splitlines()[0].rsplit(":", 1)[1]
        self.wait_for(lambda: self.http("/health")[0] == 200, 30, "/health is 200")
        return self

    def stop(self):
        docker("stop", self.name)
        return json.loads(docker("inspect", "-f", "{{json .State}}", self.name))

    def run(self, *command):
        return docker("exec", self.name, *command)

    def http(self, path):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as fault:
            return fault.code, None
        except OSError:
            return 0, None

    def task(self, key):
        return json.loads(self.run("orchctl", "task", "show", key, "--json"))

    def pid(self, service):
        return int(self.run("cat", f"/run/orchestrator/sv/{service}/supervise/pid") or 0)

    def wait_for(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s in vain: {what}\n"
                             + docker("logs", "--tail", "40", self.name, check=False))


# Red when PID 1 needs to write outside of the volumes, or listens on loopback alone.
def test_with_volumes_only_and_a_read_only_root(image):
    with Container(image, "--read-only") as container:
        container.start()
        # answered as soon as it can work; the last services are then still on their way
        container.wait_for(lambda: (container.http("/health")[1] or {}).get("status") == "ok", 20, "all is well")
        page = container.http("/health")[1]
        assert {service["name"] for service in page["services"]} == set(SERVICES)
        assert container.run("id", "-un") == "orchestrator"
        assert container.run("cat", "/proc/1/comm") == "orchestrator"
        container.run("gitleaks", "version")
        container.run("git", "--version")
        state = container.stop()
        assert state["ExitCode"] == 0 and not state["OOMKilled"]


# Red when the image's capabilities are effective by themselves: nothing starts where they are dropped.
def test_without_any_capability(image):
    with Container(image, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
                   "-e", "ORCH_AGENT_USER=") as container:
        container.start()
        status, page = container.http("/health")
        assert status == 200 and page["status"] == "ok"


# Red when the container's health is docker's guess: the health check has to say it.
def test_a_killed_service_is_healed_and_the_check_says_so(image):
    with Container(image, "--health-interval", "1s", "--health-start-period", "0s") as container:
        container.start()
        for service in SERVICES:
            before = container.pid(service)
            container.run("sh", "-c", f"kill -9 {before}")
            container.wait_for(lambda: container.pid(service) not in (0, before), 15,
                               f"{service} is back")
        container.wait_for(lambda: container.http("/health")[0] == 200, 20, "all is well again")
        container.wait_for(lambda: docker("inspect", "-f", "{{.State.Health.Status}}",
                                          container.name) == "healthy", 20, "healthy")


CLAUDE = """#!/bin/sh
echo "$ORCH_RUN $*" >> /opt/test/calls
id -un >> /opt/test/who
cat /var/lib/orchestrator/operator_token && exit 1
exec /usr/local/share/orchestrator/demo/scripted_agent.py /opt/test/agent
"""


def with_project(image):
    """The claude driver; a script stands for the CLI."""
    container = Container(image, config={
        "disk": {"low_water_mb": 1}, "retry": {"base_s": 1, "max_s": 2},
        "projects": [{"key": "DEMO", "repo": "sample", "tracker": "local", "forge": "local",
                      "agent": "claude", "ci": "none"}]})
    (container.dir / "agent").mkdir()
    (container.dir / "claude").write_text(CLAUDE)
    (container.dir / "claude").chmod(0o755)
    (container.dir / "agent/plan.json").write_text('{"developer": {"until": "go"}}')
    (container.dir / "sample").mkdir()
    (container.dir / "sample/README.md").write_text("A sample.\n")
    for path in (container.dir, container.dir / "agent"):
        path.chmod(0o777)  # the container's user has a number of its own
    return container


# Red when the runner leaves its agents to die with the container: the run is lost then, and its
# session may have half of a turn; or when an interrupted run counts as an attempt.
def test_stopped_with_an_agent_at_work_its_session_is_resumed(image):
    with with_project(image) as container:
        container.start()
        container.run("orchctl", "repo", "create", "sample", "--from", "/opt/test/sample")
        key = container.run("orchctl", "task", "new", "DEMO", "--title", "Say hello")
        container.wait_for(lambda: container.task(key)["parked"], 60, "it waits for approval")
        container.run("orchctl", "approve", key)
        container.wait_for(lambda: "developer" in (container.dir / "agent/starts").read_text(), 60,
                           "the developer works")
        began = time.monotonic()
        state = container.stop()  # docker's own grace of ten seconds
        assert state["ExitCode"] == 0, docker("logs", "--tail", "60", container.name)
        assert time.monotonic() - began < 10
        (container.dir / "agent/go").touch()
        container.start()
        container.wait_for(lambda: container.task(key)["stage"] == "done", 90, "done")
        developers = [run for run in container.task(key)["runs"] if run["role"] == "developer"]
        assert len(developers) == 2 and {run["attempt"] for run in developers} == {1}, developers
        # an agent is another user's, and what is ours is closed to it
        agent = container.run("id", "-u", "orchestrator-agent")
        owners = container.run("sh", "-c", "stat -c %u /var/lib/orchestrator/workspaces/*")
        assert set(owners.split()) == {agent}
        assert "orchestrator-agent" in (container.dir / "who").read_text()
        calls = [call for call in (container.dir / "calls").read_text().splitlines()
                 if call.split()[0] in {run["id"] for run in developers}]
        session = calls[0].split("--session-id ")[1].split()[0]
        assert f"--resume {session}" in calls[1], calls


def test_the_demo_runs_inside(image):
    done = subprocess.run(["docker", "run", "--rm", "--init", "--read-only", "--tmpfs", "/tmp", image,
                           "/usr/local/share/orchestrator/demo/demo"],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "went through all stages to done" in done.stdout
    assert "7 runs of agents, none started more than once." in done.stdout


def test_the_compose_file(image):
    tool = next((tool for tool in (["docker", "compose"], ["docker-compose"])
                 if subprocess.run([*tool, "version"], capture_output=True, check=False).returncode == 0),
                None)
    if not tool:
        pytest.skip("no docker compose here")
    done = subprocess.run([*tool, "-f", ROOT / "compose.yaml", "config"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "60s" in done.stdout or "1m0s" in done.stdout
    assert 'ORCH_SUPERVISOR_STOP_BUDGET_S: \'50\'' in done.stdout.replace('"', "'")
