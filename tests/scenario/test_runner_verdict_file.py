"""What a verdict file is worth that an earlier run left in the workspace.

Mutations, each red: the file removed before an entry's first run only (another code); before every run (the
same code); the record trusted whatever its entry (an earlier entry)."""
from runner_kit import World

BRANCH = "feature/SHOP-1-a-thing"
AGENT = """case $ORCH_RUN in
r0) echo code > code.txt;;
r1) mkdir -p docs/work-items/SHOP-1
    printf -- '---\\nverdict: APPROVED\\n---\\nFine.\\n' > docs/work-items/SHOP-1/12-review.md
    git add -A; git commit -qm reviewed
    exit 1;;
*) true;;
esac
"""


def reviewed(between, entry=4):
    """A reviewer that approves and then fails; between; the gate's word on one that writes nothing."""
    with World(AGENT) as world:
        world.start_scheduler()
        world.start_runner()
        world.run("r0")
        first = world.run("r1", entry=4, stage="review", role="reviewer")
        assert first["outcome"] == "failed" and first["gate"] is None
        between(world)
        last = world.run("r2", entry=entry, stage="review", role="reviewer", attempt=2,
                         first_of_entry=entry != 4)
        assert last["outcome"] == "succeeded", (last, world.log())
        return last["gate"]


def test_on_the_same_code_it_counts():
    assert reviewed(lambda world: None)["verdict"] == "pass"


def test_on_other_code_it_does_not():
    gate = reviewed(lambda world: world.push_by_hand(BRANCH, {"code.txt": "by another hand\n"}))
    assert gate["verdict"] == "fail" and "12-review.md" in gate["reason"]


def test_of_an_earlier_entry_it_does_not():
    assert reviewed(lambda world: None, entry=5)["verdict"] == "fail"


def test_without_its_record_it_does_not():
    def lose(world):
        record = world.home / "verdicts/7"
        assert '"entry":4' in record.read_text()
        record.unlink()
    assert reviewed(lose)["verdict"] == "fail"
