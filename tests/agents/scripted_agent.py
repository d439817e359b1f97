#!/usr/bin/env python3
"""An agent that does what it is told: writes the artefacts of its role, nothing else.

Its environment is the one every `agent: command` gets (ORCH_ROLE, ORCH_STAGE, ORCH_TASK, ORCH_RUN,
ORCH_ATTEMPT). What it shall do is read from the folder given as its first argument:
  plan.json   {"<role>": {"sleep_s": 2, "until": "go", "exit": 1, "reject": 1, "times": 1, "edit":
              true}}: until: it works on until this file is in the folder; reject: so many verdicts of
              this role are negative; exit: so many ("times", default all) runs end with this status;
              edit: it changes code, which is not its role's to do
  starts      one line per start and end, appended: "run pid role clock start|end". The clock is
              CLOCK_MONOTONIC, so that two lines can be compared.
  prompts/    each run's standard input
"""

import json
import os
import sys
import time
from pathlib import Path

FOLDER = Path(sys.argv[1])
ROLE, STAGE = os.environ["ORCH_ROLE"], os.environ["ORCH_STAGE"]
TASK, RUN = os.environ["ORCH_TASK"], os.environ["ORCH_RUN"]
WORK = Path("docs/work-items") / TASK


def note(what):
    line = f"{RUN} {os.getpid()} {ROLE} {time.monotonic():.6f} {what}\n"
    fd = os.open(FOLDER / "starts", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, line.encode())
    os.close(fd)


def earlier_runs():
    """Runs of this role for this task that ended before."""
    lines = (FOLDER / "starts").read_text().splitlines()
    return sum(1 for line in lines if line.split()[2] == ROLE and line.endswith(" end")
               and line.split()[0].rsplit("-j", 1)[0] == TASK)


def artefact(name, body, **verdict):
    keys = {"work_item": TASK, "stage": STAGE, "author_agent": ROLE, "status": "complete",
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **verdict}
    path = WORK / name
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "".join(f"{key}: {value}\n" for key, value in keys.items())
    path.write_text(f"---\n{head}---\n\n{body}\n")


def work(rejects):
    if ROLE == "analyst":
        for name in ("01-brd", "02-requirements", "03-acceptance-criteria", "04-test-plan"):
            artefact(f"{name}.md", f"What {TASK} asks for, as {name}.")
    elif ROLE == "architect":
        artefact("06-adr/ADR-001-greeting.md", "The greeting is a file.")
    elif ROLE == "developer":
        # a file per task: branches of tasks that go on side by side do not conflict
        with open(f"greeting-{TASK}.txt", "a", encoding="utf-8") as greeting:
            greeting.write(f"Hello from {RUN}\n")
    elif ROLE == "reviewer" and rejects:
        artefact("12-review.md", f"- greeting-{TASK}.txt: the greeting has no full stop.",
                 verdict="CHANGES_REQUESTED")
    elif ROLE == "reviewer":
        artefact("12-review.md", "Well done.", verdict="APPROVED")
    elif ROLE == "tester" and rejects:
        artefact("13-test-report.md", "- the greeting was not found.", verdict="FAIL",
                 status="FAILED", result="FAIL")
    elif ROLE == "tester":
        artefact("13-test-report.md", "All criteria hold.", verdict="PASS", status="PASSED",
                 result="OK")
    elif ROLE == "deployer":
        artefact("15-staging-log.md", "Nothing to stage.", staging_status="SUCCESS")


def main():
    prompt = sys.stdin.read()
    try:
        plan = json.loads((FOLDER / "plan.json").read_text()).get(ROLE, {})
    except FileNotFoundError:
        plan = {}
    note("start")
    before = earlier_runs()
    (FOLDER / "prompts").mkdir(exist_ok=True)
    (FOLDER / "prompts" / RUN).write_text(prompt)
    time.sleep(plan.get("sleep_s", 0))
    while "until" in plan and not (FOLDER / plan["until"]).exists():
        time.sleep(0.02)
    if plan.get("exit") and before < plan.get("times", 1 << 30):
        note("end")
        sys.exit(plan["exit"])
    if plan.get("edit"):
        Path(f"edited-by-{ROLE}.txt").write_text(f"{RUN}\n")
    work(before < plan.get("reject", 0))
    note("end")
    print(f"{ROLE} worked on {TASK}")
    print(json.dumps({
        "type": "result", "subtype": "success", "is_error": False, "num_turns": 1,
        "result": f"{ROLE} is done", "session_id": RUN, "total_cost_usd": 0.01,
        "usage": {"input_tokens": 1200, "output_tokens": 340, "cache_read_input_tokens": 800,
                  "cache_creation_input_tokens": 100}}))


if __name__ == "__main__":
    main()
