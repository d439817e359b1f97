"""When a command counts: once per entry, and only after the tracker showed what it answers.

Mutations, each red: an unconfirmed display taken for a confirmed one (before_it_is_shown); the refusal said each time
(too_early, to_analyse_where_nothing_is_blocked)."""

import signal

import pytest

from harness import git


def say(instance, key, status, delivery, **fields):
    code, _ = instance.must("POST", "/webhook/local", {
        "delivery": delivery, "kind": "status", "issue": key, "status": status, "actor": "ada", **fields})
    assert code == 202


def comment(instance, key, body, delivery, actor="ada"):
    return instance.must("POST", "/webhook/local", {"delivery": delivery, "kind": "comment", "issue": key,
                                                    "body": body, "actor": actor})[0]


def shown(instance, key, status, seconds=30):
    instance.wait_for(lambda: instance.issue(key).get("status") == status, seconds, f"{key} shows {status}")


def say_in_vain(instance, key, said, delivery, back):
    """A person's status is looked at, and the display is ours again."""
    before = len(instance.issue(key)["status_history"])
    say(instance, key, said, delivery)

    def returned():
        rows = [(row["actor"], row["status"]) for row in instance.issue(key)["status_history"][before:]]
        return ("ada", said) in rows and ("stream", back) in rows[rows.index(("ada", said)):]
    instance.wait_for(returned, 20, f"{said} is answered with {back}")
    assert instance.issue(key)["status"] == back


def refusals(instance, key):
    return [text["body"] for text in instance.issue(key)["comments"]
            if text["author"] == "stream" and "not yet shown" in text["body"]]


def roles_started(instance):
    return {line[2] for line in instance.starts()}


def kill_all(instance):
    for name in ("scheduler", "reconciler", "ingress", "runner", "notifier"):
        instance.kill(name)
    instance.kill("supervisor")


def test_too_early(make_instance):
    instance = make_instance(plan={"analyst": {"until": "go"}}).start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.starts(), 30, "the analyst works")
    shown(instance, key, "Analysis")
    for number in (1, 2):
        say_in_vain(instance, key, "Approved", f"early-{number}", "Analysis")
    instance.wait_for(lambda: len(refusals(instance, key)) == 1, 20, "it is answered")
    (instance.agent_dir / "go").touch()
    shown(instance, key, "Awaiting Approval")
    assert instance.parked(key) == "approval", "it was not remembered"
    assert len(refusals(instance, key)) == 1, "answered once"
    say(instance, key, "Approved", "in-time")
    instance.wait_stage(key, "done", 60)


def test_before_it_is_shown(make_instance):
    """The analysis is ready, but the tracker has not shown it: what a person sets then answers something
    else. The notifier stands still meanwhile, and those who would end it for that."""
    instance = make_instance(plan={"analyst": {"until": "go"}}).start()
    key = instance.new_issue(1)
    instance.wait_for(lambda: instance.starts(), 30, "the analyst works")
    shown(instance, key, "Analysis")
    standing = ("reconciler", "reaper", "notifier")
    for name in standing:
        instance.kill(name, signal.SIGSTOP)
    (instance.agent_dir / "go").touch()
    instance.wait_for(lambda: instance.parked(key) == "approval", 30, "the analysis is ready")
    say(instance, key, "Approved", "early")
    instance.wait_for(lambda: instance.issue(key)["status"] == "Approved", 20, "it is set")
    assert instance.stage(key) == "analysis"
    for name in standing:
        instance.kill(name, signal.SIGCONT)
    shown(instance, key, "Awaiting Approval")
    instance.wait_for(lambda: refusals(instance, key), 20, "it is answered")
    assert instance.stage(key) == "analysis" and len(refusals(instance, key)) == 1
    say(instance, key, "Approved", "in-time")
    instance.wait_stage(key, "done", 60)


@pytest.mark.parametrize("announce", [True, False])
def test_while_everything_was_down(make_instance, announce):
    """It came, and everybody was killed before anybody acted on it."""
    instance = make_instance(keys={"reconciler": {"interval_s": 1}}).start()
    key = instance.new_issue(1)
    shown(instance, key, "Awaiting Approval")
    instance.kill("scheduler", signal.SIGSTOP)  # the inbox takes it, nobody reads
    say(instance, key, "Approved", "meanwhile", announce=announce)
    kill_all(instance)
    instance.start()
    instance.wait_stage(key, "done", 60)
    whys = [row["why"] for row in instance.task(key)["transitions"] if row["to"] == "architecture"]
    assert len(whys) == 1 and whys[0].startswith("approved: ")


def test_stop_beats_what_came_with_it(make_instance):
    instance = make_instance().start()
    key = instance.new_issue(1)
    shown(instance, key, "Awaiting Approval")
    instance.kill("scheduler", signal.SIGSTOP)
    say(instance, key, "Approved", "one")
    say(instance, key, "STOP", "two")
    instance.kill("scheduler", signal.SIGCONT)
    instance.wait_for(lambda: instance.stage(key) == "cancelled", 30, "it is cancelled")
    shown(instance, key, "Cancelled")
    assert "architect" not in roles_started(instance)


def test_a_persons_word_in_a_comment(make_instance):
    instance = make_instance().start()
    key = instance.new_issue(1)
    shown(instance, key, "Awaiting Approval")
    assert comment(instance, key, "The analyst says :approved:", "bot", actor="analyst") == 400
    assert comment(instance, key, "I have read it.", "plain") == 202
    instance.wait_for(lambda: len(instance.issue(key)["comments"]) and any(
        text["author"] == "ada" for text in instance.issue(key)["comments"]), 20, "it is kept")
    assert instance.parked(key) == "approval"
    assert comment(instance, key, "Good. :approved:", "word") == 202
    instance.wait_stage(key, "done", 60)


def test_approved_is_never_a_deploy(make_instance):
    """And Confirm Deploy is nothing elsewhere; the display returns to what the stage shows."""
    instance = make_instance(project={"confirm_deploy": True}).start()
    key = instance.new_issue(1)
    shown(instance, key, "Awaiting Approval")
    say_in_vain(instance, key, "Confirm Deploy", "elsewhere", "Awaiting Approval")
    assert instance.parked(key) == "approval"
    say(instance, key, "Approved", "right")
    shown(instance, key, "Awaiting Deploy", 60)
    main = git(instance.repo, "rev-parse", "main")
    say_in_vain(instance, key, "Approved", "wrong", "Awaiting Deploy")
    assert instance.parked(key) == "confirm" and git(instance.repo, "rev-parse", "main") == main
    say(instance, key, "Confirm Deploy", "go")
    instance.wait_stage(key, "done", 60)


def test_to_analyse_where_nothing_is_blocked(make_instance):
    """Refused with one comment, and nothing is begun anew."""
    instance = make_instance(plan={"tester": {"until": "go"}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    shown(instance, key, "Testing", 60)
    for number in (1, 2):
        say_in_vain(instance, key, "To Analyse", f"again-{number}", "Testing")
    said = [text["body"] for text in instance.issue(key)["comments"] if "not blocked" in text["body"]]
    assert len(said) == 1, said
    (instance.agent_dir / "go").touch()
    instance.wait_stage(key, "done", 60)
    assert [row["to"] for row in instance.task(key)["transitions"]].count("analysis") == 1


def test_one_that_comes_too_late_and_is_not_announced(make_instance):
    """Nothing of ours replaces a person's command before it is heard: so it is, also where it means nothing.
    Red when the reconciler passes over what would be refused: the issue would show it for ever."""
    instance = make_instance(plan={"tester": {"until": "go"}}, keys={"reconciler": {"interval_s": 1}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    shown(instance, key, "Testing", 60)
    say(instance, key, "Approved", "late", announce=False)
    instance.wait_for(lambda: ("ada", "Approved") in [
        (row["actor"], row["status"]) for row in instance.issue(key)["status_history"]], 20, "it is set")
    shown(instance, key, "Testing", 20)
    (instance.agent_dir / "go").touch()
    instance.wait_stage(key, "done", 60)
    shown(instance, key, "Done", 20)
    say(instance, key, "To Analyse", "much too late", announce=False)
    instance.wait_for(lambda: instance.issue(key)["status_history"][-1]["status"] == "Done" and
                      len(instance.issue(key)["status_history"]) > 3 and ("ada", "To Analyse") in [
        (row["actor"], row["status"]) for row in instance.issue(key)["status_history"][-2:]], 20, "Done again")
    assert instance.stage(key) == "done"
