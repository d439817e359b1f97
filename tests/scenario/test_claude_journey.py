"""The real claude command line through a whole instance, against a scripted Messages API on loopback: all stages with
their account, a revoked key and a spent allowance of several tasks at once.

Mutations, each red: the account taken from another record than the run's own (all_stages), no probe after a
hold (a_revoked_key, a_spent_allowance), the alert at every failure (a_revoked_key), an attempt counted
for either (both), the hold kept after the probe's first answer (a_spent_allowance)."""

import json

import pytest

from harness import AGENT
from invariants import check_all
from messages_api import MessagesApi, Refusal, Turn


class Worker(MessagesApi):
    """Whoever asks first is told to play its role by the scripted agent; told of its end, it is done. refusal: what
    everybody gets instead, while it is set."""

    def __init__(self, folder):
        super().__init__([])
        self.refusal = None
        self.play = ("Bash", {"command": f"/usr/bin/python3 {AGENT} {folder} </dev/null", "description": "Do the work"})

    def turn_for(self, body):
        if self.refusal:
            return self.refusal
        said = json.dumps(body["messages"])
        return Turn("Done.") if "tool_result" in said else Turn("I do it.", self.play)


def with_claude(make_instance, program, **keys):
    instance = make_instance(keys={**keys, "agent": {"command": program, "sandbox_read": [str(AGENT.parent)],
                                                     **keys.get("agent", {})}})
    config = json.loads(instance.config.read_text())
    config["agent"]["sandbox_write"] = [str(instance.agent_dir)]
    config["projects"][0].update({"agent": "claude", "agent_command": []})
    instance.config.write_text(json.dumps(config))
    return instance


def start(instance, api):
    """With an environment of its own: no key and no login of whoever runs the tests."""
    return instance.start(environment={
        "ANTHROPIC_API_KEY": "dummy-key-of-the-test", "ANTHROPIC_BASE_URL": api.url,
        "CLAUDE_CONFIG_DIR": str(instance.dir / "claude"), "HOME": str(instance.dir)})


def records(instance):
    """run: the CLI's own result record."""
    found = {}
    for log in (instance.home / "runs").glob("*/log"):
        for record in map(json.loads, log.read_text().splitlines()):
            if record.get("type") == "result":
                found[log.parent.name] = record
    return found


def runs_of(instance, key):
    return {run["id"]: run for run in instance.http("GET", f"/tasks/{key}")[1]["runs"]}


def attempts(instance, key):
    return {job["attempt"] for job in instance.http("GET", f"/tasks/{key}")[1]["jobs"]}


def announced(instance):
    """How often a hold of the provider was said."""
    return instance.rows("SELECT count(*) FROM journal WHERE event = 'alert' AND detail LIKE '%provider:claude%'")[0][0]


def test_all_stages(make_instance, claude):
    instance = with_claude(make_instance, claude, staging={"enabled": True, "repos": "*"}).with_hook()
    (instance.dir / "deploy-hook").write_text("#!/bin/sh\ncase $1 in --build-staging) echo built ;; esac\n")
    check = instance.dir / "staging-check"
    check.write_text("#!/bin/sh\necho '{\"checks\": []}'\n")
    check.chmod(0o755)
    config = json.loads(instance.config.read_text())
    config["projects"][0]["staging_check"] = str(check)
    instance.config.write_text(json.dumps(config))
    with Worker(instance.agent_dir) as api:
        start(instance, api)
        key = instance.new_issue(1)
        instance.approve(key, 120)
        instance.wait_stage(key, "done", 180)
        own = records(instance)
        runs = {name: run for name, run in runs_of(instance, key).items() if run["role"]}
        assert [*runs] and {run["role"] for run in runs.values()} == {
            "analyst", "architect", "developer", "reviewer", "tester", "deployer"}
        assert set(runs) == set(own)
        for name, run in runs.items():
            assert run["cost_usd"] == pytest.approx(own[name]["total_cost_usd"]) and run["cost_usd"] > 0
            assert run["session"] == own[name]["session_id"]
        check_all(instance, key)


def test_a_revoked_key(make_instance, claude):
    instance = with_claude(make_instance, claude, usage_limit={"probe_s": 2})
    with Worker(instance.agent_dir) as api:
        api.refusal = Refusal(401, "authentication_error", "invalid x-api-key")
        start(instance, api)
        keys = [instance.new_issue(1), instance.new_issue(2)]
        instance.wait_for(lambda: [job["reason"].split(":")[0] for job in instance.http("GET", "/queue")[1]["queued"]]
                          == ["operator"] * 2, 60, "both wait for an operator")
        before = len(api.asked)
        instance.wait_for(lambda: len(api.asked) > before, 60, "it is probed")
        assert announced(instance) == 1
        api.refusal = None
        for key in keys:
            instance.wait_for(lambda: instance.parked(key) == "approval", 120, f"{key} is analysed")
            assert attempts(instance, key) == {1}


def test_a_spent_allowance(make_instance, claude):
    instance = with_claude(make_instance, claude, usage_limit={"probe_s": 2})
    with Worker(instance.agent_dir) as api:
        api.refusal = Refusal(429, "rate_limit_error", "You've hit your limit · resets 8pm (Europe/Prague)")
        start(instance, api)
        keys = [instance.new_issue(1), instance.new_issue(2)]
        instance.wait_for(lambda: [job["reason"].split(":")[0] for job in instance.http("GET", "/queue")[1]["queued"]]
                          == ["usage-limit"] * 2, 60, "both wait for the allowance")
        api.refusal = None
        for key in keys:
            instance.wait_for(lambda: instance.parked(key) == "approval", 120, f"{key} is analysed")
            assert attempts(instance, key) == {1}
        assert announced(instance) == 1
