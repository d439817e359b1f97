#!/usr/bin/env python3
"""The scripted agent, after it has looked at who it is and tried what it should not be able to:
prying_agent.py FOLDER PATH... ; FOLDER/pried/<run> tells, as JSON, who it is and for each path whether it
could be read (or, a socket, connected to) and written. Its first argument stays the scripted agent's."""

import json
import os
import socket
import stat
import sys
from pathlib import Path

FOLDER, PATHS = Path(sys.argv[1]), sys.argv[2:]


def status():
    lines = Path("/proc/self/status").read_text().splitlines()
    wanted = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)
            if name in wanted}


def tried(action):
    try:
        action()
        return True
    except OSError:
        return False


def connect(path):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)


def pry(path):
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return {"seen": False, "why": error.strerror}
    if stat.S_ISSOCK(mode):
        return {"seen": True, "read": tried(lambda: connect(path)), "write": False}
    if stat.S_ISDIR(mode):
        return {"seen": True, "read": tried(lambda: os.listdir(path)), "write": os.access(path, os.W_OK)}
    return {"seen": True, "read": tried(lambda: open(path, "rb").close()),
            "write": os.access(path, os.W_OK)}


(FOLDER / "pried").mkdir(exist_ok=True)
(FOLDER / "pried" / os.environ["ORCH_RUN"]).write_text(json.dumps(
    {"status": status(), "environment": dict(os.environ), "home": pry(os.environ["HOME"]),
     "work": pry("."), "paths": {path: pry(path) for path in PATHS}}))
agent = Path(__file__).with_name("scripted_agent.py")
os.execv(agent, [str(agent), str(FOLDER)])
