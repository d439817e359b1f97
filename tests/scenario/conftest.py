import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import ROOT, Instance  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.failed = report.failed


@pytest.fixture
def make_instance(request):
    """Instances that end with the test; the directory of a failed one stays for a look."""
    made = []

    def make(*arguments, **named):
        made.append(Instance(*arguments, **named))
        return made[-1]
    yield make
    for instance in made:
        instance.close(keep=getattr(request.node, "failed", False))


@pytest.fixture
def make_ingress(request):
    """orch-ingress alone; the directory of a failed test stays for a look."""
    from ingress_kit import Ingress
    made = []

    def make(*arguments, start=True, **named):
        made.append(Ingress(*arguments, **named))
        return made[-1].start() if start else made[-1]
    yield make
    for ingress in made:
        ingress.close(keep=getattr(request.node, "failed", False))


@pytest.fixture
def ingress(make_ingress):
    return make_ingress()


@pytest.fixture(scope="session")
def claude():
    """The program's path; without it the tests say why they are skipped."""
    try:
        done = subprocess.run([ROOT / "scripts/install-claude-cli"], text=True, capture_output=True,
                              timeout=400)
    except subprocess.TimeoutExpired:
        pytest.skip("the claude command line could not be fetched in time")
    if done.returncode:
        pytest.skip((done.stderr.strip().splitlines() or ["no claude command line"])[-1])
    return done.stdout.strip()
