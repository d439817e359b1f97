"""nngcat reads a service's status and the event stream, with the commands of the README."""

import json
import os
import re
import shutil
import subprocess
import time

import pytest

from harness import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("nngcat"), reason="nngcat is not installed")


def readme_commands():
    """The indented nngcat commands, continued lines joined."""
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if re.match(r"\s*nngcat ", line)]


def test_commands_of_the_readme(make_instance):
    instance = make_instance().start()
    status, events = readme_commands()
    env = {**os.environ, "ORCH_RUN_DIR": str(instance.run_dir)}
    out = subprocess.run(["sh", "-c", status], env=env, capture_output=True, timeout=20, check=True)
    answer = json.loads(out.stdout)
    assert answer["kind"] == "status_reply" and answer["service"] == "scheduler"
    assert answer["state"] == "ready"
    reader = subprocess.Popen(["sh", "-c", "exec " + events], env=env, stdout=subprocess.PIPE)
    try:
        time.sleep(0.5)
        instance.new_issue(1)
        event = json.loads(reader.stdout.readline())
        assert event["kind"] == "event" and event["seq"] > 0 and "T" in event["ts"]
    finally:
        reader.kill()
        reader.wait()
