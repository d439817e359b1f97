"""A reviewer who rejects: the findings reach the developer word for word, and not for ever.

Mutations, each red: findings left out of the prompt; the rollback not counted; a fourth one that goes on; the
counter kept by a person's To Analyse."""

import pytest

WORDS = "greeting-DEMO-1.txt: the greeting has no full stop."


def prompts(instance, role):
    """Of the runs of this role, in their order."""
    order = []
    for run, _, who, _, what in instance.starts():
        if who == role and what == "start" and run not in order:
            order.append(run)
    return [(instance.agent_dir / "prompts" / run).read_text() for run in order]


def alerts(instance, key):
    return [alert["text"] for alert in instance.http("GET", "/queue")[1]["alerts"]
            if alert["task_key"] == key]


def test_two_rejections(make_instance):
    instance = make_instance(plan={"reviewer": {"reject": 2}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_stage(key, "done", 60)
    texts = prompts(instance, "developer")
    assert len(texts) == 3
    assert WORDS not in texts[0]
    assert all(WORDS in text for text in texts[1:]), texts[-1]
    whys = [row["why"] for row in instance.task(key)["transitions"] if row["to"] == "development"]
    assert len(whys) == 3 and all(WORDS or "gate-failed" in why for why in whys[1:])
    comments = [comment["body"] for comment in instance.issue(key)["comments"]]
    rolled = [body for body in comments if "rollback 1 of 3" in body or "rollback 2 of 3" in body]
    assert len(rolled) == 2 and all(WORDS in body for body in rolled), rolled


def test_the_fourth_rejection_blocks_and_a_person_lets_it_go_on(make_instance):
    instance = make_instance(plan={"reviewer": {"reject": 5}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_for(lambda: instance.task(key).get("blocked"), 90, "it is blocked")
    task = instance.task(key)
    assert task["stage"] == "review" and task["blocked"]["reason"].startswith("rollbacks-exhausted: ")
    assert len(prompts(instance, "developer")) == 4 and len(prompts(instance, "reviewer")) == 4
    instance.wait_for(lambda: instance.issue(key)["status"] == "Blocked", 20, "it is shown")
    assert len(alerts(instance, key)) == 1, alerts(instance, key)
    instance.must("POST", "/webhook/local", {"delivery": "again", "kind": "status", "issue": key,
                                             "status": "To Analyse", "actor": "ada"})
    # the stage's own job once more; its fifth rejection is the first one that counts since then
    instance.wait_stage(key, "done", 90)
    assert len(prompts(instance, "reviewer")) == 6 and len(prompts(instance, "developer")) == 5
    assert WORDS in prompts(instance, "developer")[-1]
    assert not alerts(instance, key)


@pytest.mark.parametrize("role, words", [("tester", "the greeting was not found.")])
def test_a_tester_who_rejects(make_instance, role, words):
    instance = make_instance(plan={role: {"reject": 1}}).start()
    key = instance.new_issue(1)
    instance.approve(key, 60)
    instance.wait_stage(key, "done", 60)
    texts = prompts(instance, "developer")
    assert len(texts) == 2 and words in texts[1] and words not in texts[0]
    assert len(prompts(instance, "reviewer")) == 2, "what was changed is reviewed again"
