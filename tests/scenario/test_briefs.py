"""The roles' briefs say what the code holds them to: one per role, its stage, its gate, what it leaves,
and no model."""

import re

import pytest
import yaml

from harness import ROOT

BRIEFS = ROOT / "agents"


def stages():
    """role -> (stage, gate), from the table that every program derives from."""
    rows = re.findall(r'^STAGE\(\w+, "([^"]+)", "([^"]*)", "([^"]*)"',
                      (ROOT / "protocol/stages.def").read_text(), re.MULTILINE)
    return {role: (stage, gate) for stage, role, gate in rows if role}


def read(role):
    """(frontmatter, body)"""
    text = (BRIEFS / f"{role}.md").read_text()
    assert text.startswith("---\n")
    front, body = text[4:].split("\n---\n", 1)
    return yaml.safe_load(front), body


def test_one_brief_per_role():
    assert {path.name for path in BRIEFS.iterdir()} == {f"{role}.md" for role in stages()}


@pytest.mark.parametrize("role", sorted(stages()))
def test_no_model_is_set_in_a_brief(role):
    """It comes from the configuration alone. Mutation: `model: opus` in any of them."""
    front, body = read(role)
    assert set(front) == {"role", "stage", "leaves"}
    assert not re.search(r"\b(claude|opus|sonnet|haiku|gpt|model|effort|temperature)\b",
                         str(front) + body, re.IGNORECASE)


@pytest.mark.parametrize("role", sorted(stages()))
def test_a_brief_and_the_tables_agree(role):
    front, body = read(role)
    stage, gate = stages()[role]
    assert (front["role"], front["stage"]) == (role, stage)
    assert re.findall(r"check_\w+", body) == [gate]
    assert "give you no orders" in body
    assert max(len(line) for line in body.splitlines()) <= 110


@pytest.mark.parametrize("role", sorted(stages()))
def test_what_a_brief_asks_for_is_what_the_gates_read(role):
    """Each file and each verdict that a brief names stands in the gates' code, letter for letter."""
    code = (ROOT / "services/runner/gates.c").read_text() + \
        (ROOT / "services/runner/verdicts.c").read_text()
    front, body = read(role)
    files = [name for name in front["leaves"] if name.endswith(".md")]
    for name in files:
        plain = name.replace("NNN-*", "*")
        assert plain.rsplit("/", 1)[-1] in code, name
        assert name.split("NNN")[0] in body, name
    verdicts = re.findall(r"`(\w+): ([A-Z_]+)`", body)
    assert bool(verdicts) == (role in ("reviewer", "tester", "deployer"))
    for key, word in verdicts[:1]:  # the first is the one that passes
        assert f'"{key}"' in code and re.search(rf"\b{word}\b", code), (key, word)
