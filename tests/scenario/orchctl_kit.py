"""orchctl as people and scripts call it, beside an instance."""

import json
import os
import subprocess

from harness import BIN

DONE, REFUSED, USAGE, NOT_REACHABLE, NOT_FOUND = 0, 1, 2, 3, 4


def orchctl(instance, *arguments, env=None, data=None, timeout=60):
    """The ended process; text on both sides."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
    environment.update({"ORCH_CONFIG": str(instance.config), **(env or {})})
    return subprocess.run([BIN / "orchctl", *arguments], capture_output=True, timeout=timeout,
                          env=environment, input=data,
                          stdin=subprocess.DEVNULL if data is None else None)


def text(instance, *arguments, code=DONE, **named):
    done = orchctl(instance, *arguments, **named)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return (done.stdout if code == DONE else done.stderr).decode()


def parsed(instance, *arguments, code=DONE, **named):
    done = orchctl(instance, *arguments, "--json", **named)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout)
