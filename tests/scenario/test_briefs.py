"""The roles' briefs and docs/handoff-protocol.md say what the code holds agents to: one per role, its stage, its gate, what it leaves,
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


def gates_code():
    return "".join((ROOT / "services/runner" / name).read_text()
                   for name in ("gates.c", "gate_files.c", "verdicts.c"))


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
    code = gates_code()
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


HANDOFF = (ROOT / "docs/handoff-protocol.md").read_text()


@pytest.mark.parametrize("role", sorted(stages()))
def test_the_handoff_protocol_and_the_brief_agree(role):
    """Mutation: a file or a gate renamed in one of them."""
    front, _ = read(role)
    stage, gate = stages()[role]
    row = next(line for line in HANDOFF.splitlines() if line.startswith(f"| {stage} |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == role and cells[3] == f"`{gate}`"
    files = re.findall(r"`([^`]+\.md)`", cells[2])
    assert (files or [cells[2]]) == front["leaves"]


def test_the_handoff_protocol_lists_the_words_that_the_tester_is_read_by():
    """Mutation: a word added to verdicts.c alone."""
    code = (ROOT / "services/runner/verdicts.c").read_text()
    for name in ("negative", "positive"):
        listed = re.search(rf"{name}\[\] = \{{(.*?)\}};", code, re.DOTALL)[1]
        line = next(line for line in HANDOFF.splitlines() if line.startswith(f"- {name}: "))
        assert re.findall(r"`([^`]+)`", line) == re.findall(r'"([^"]+)"', listed)


def test_the_handoff_protocol_names_the_keys_of_every_artefact():
    """Mutation: a key more in frontmatter.c."""
    code = (ROOT / "services/runner/frontmatter.c").read_text()
    keys = re.findall(r'"(\w+)"', re.search(r"wanted\[\] = \{(.*?)\};", code, re.DOTALL)[1])
    assert keys == ["work_item", "stage", "author_agent", "status", "created_at"]
    assert all(f"`{key}`" in HANDOFF for key in keys)
