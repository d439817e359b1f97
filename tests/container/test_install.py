"""make install into an empty folder, and what it puts there: programs that run, a unit that systemd
takes, and nothing that uninstall leaves."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed():
    folder = Path(tempfile.mkdtemp(prefix="oi-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
    make("install", folder)
    yield folder
    shutil.rmtree(folder)


def make(target, folder):
    subprocess.run(["make", "-s", "-j2", f"DESTDIR={folder}", target], cwd=ROOT, check=True,
                   timeout=600, stdout=subprocess.DEVNULL)


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_installed_programs_run_the_demo(installed):
    """From there alone: neither the source tree nor build/ is in any path."""
    share = installed / "usr/local/share/orchestrator"
    env = {"PATH": f"{installed}/usr/local/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(installed),
           "LANG": "C.UTF-8", "ORCH_HTTP_LISTEN": "127.0.0.1:1"}  # of another instance: not heeded
    done = subprocess.run([share / "demo/demo"], env=env, cwd="/", capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"in {installed}/usr/local/bin" in done.stdout
    assert "went through all stages to done" in done.stdout
    folder = Path(done.stdout.rstrip().splitlines()[-1].split("rm -r ")[1])
    environment = (folder / "env").read_text()
    assert str(ROOT / "build") not in environment and str(ROOT / "sv") not in environment
    shutil.rmtree(folder)


# Red when install writes over a configuration, or uninstall takes it or leaves a program.
def test_uninstall_leaves_what_people_wrote(installed):
    config = installed / "etc/orchestrator/orchestrator.yaml"
    config.write_text("home: /srv/mine\n")
    make("install", installed)
    assert config.read_text() == "home: /srv/mine\n"
    make("uninstall", installed)
    assert files_of(installed) == ["etc/orchestrator/orchestrator.yaml"]


# Red when a setting of the unit is misspelt.
def test_the_unit_is_one_that_systemd_takes(installed):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here (Debian package systemd)")
    unit = installed / "usr/local/lib/systemd/system/orchestrator.service"
    text = unit.read_text()
    assert "@" not in text and "KillMode=process" in text
    local = installed / "orchestrator.service"
    local.write_text(text.replace("/usr/local/bin", f"{installed}/usr/local/bin"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", local], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
