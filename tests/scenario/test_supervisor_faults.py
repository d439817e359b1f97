"""What the supervisor does when the system denies it things: it goes on, and says what is lost."""

import os
import resource
import signal
import subprocess
import time

import pytest

from disk_kit import require_mounts
from supervisor_kit import READY, SLEEP, make_tree, tree  # noqa: F401


@pytest.fixture
def small(tree):
    """home and run_dir on file systems of a megabyte each."""
    require_mounts()
    mounted = []
    try:
        for path in (tree.home, tree.run_dir):
            path.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", path], check=True)
            mounted.append(path)
        yield tree
    finally:
        tree.close(keep=True)
        for path in mounted:
            subprocess.run(["umount", "-l", path], check=True)


def fill(path):
    """Until nothing fits any more; the file that takes the room."""
    big = path / "big"
    with open(big, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return big


def another_child(tree, old):
    """The processes there are now, in one look, where they are others than the old ones."""
    now = children(tree)
    return now if now and now != old else None


def children(tree):
    pid = tree.process.pid
    return [int(word) for word in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def test_a_full_disk_stops_no_restart(small):
    """Neither state nor log can be written: the service is started again all the same, and when there
    is room the state is true and the loss is told. Mutations: a publish that fails ends the loop; it is
    tried again at the next change only."""
    # more than fits into the page that its log has already; by the shell itself, which has no children
    small.service("a", READY + "n=0; while [ $n -lt 200 ]; do echo line $n; n=$((n + 1)); done\n" + SLEEP)
    small.write_config({"supervisor": {"reset_s": 1000}})  # or being ready for long would be a change
    small.start()
    taken = [fill(small.home), fill(small.run_dir)]
    for _ in range(6):
        old = children(small)
        os.kill(old[0], signal.SIGKILL)
        small.wait_for(lambda: another_child(small, old), 5, "another process")
    time.sleep(0.5)
    for path in taken:
        path.unlink()
    small.wait_for(lambda: small.find("a")["restarts"] == 6 and small.find("a")["ready"], 5,
                   "the state is true again")
    time.sleep(0.2)  # so that it dies with all said
    small.kill("a")
    small.wait_for(lambda: any(line["event"] == "log_dropped" for line in small.log("a")), 5,
                   "the loss is told")
    assert small.stop() == 0


def test_a_start_on_a_full_disk(small):
    """What was there once is enough to start with."""
    small.service("a")
    small.start()
    pid = small.pid("a")
    fill(small.home)
    fill(small.run_dir)
    small.process.kill()
    small.process.wait()
    small.start(wait=False)
    new = small.wait_for(lambda: children(small), 5, "it is started")
    assert new != [pid]
    time.sleep(0.3)
    assert children(small) == new and small.process.poll() is None


def test_an_upgrade_on_a_full_disk(small):
    """The state goes through memory: nothing of an upgrade needs the disk."""
    small.service("a")
    small.start()
    pid = small.pid("a")
    taken = fill(small.run_dir)
    small.process.send_signal(signal.SIGUSR2)
    time.sleep(0.5)
    assert children(small) == [pid]
    taken.unlink()
    os.kill(pid, signal.SIGKILL)
    small.wait_ready("a", other_than=pid)
    assert small.state()["upgrades"] == 1


def test_no_more_descriptors(tree):
    """The readiness pipe can't be made: said, tried again, and the others go on."""
    tree.service("a")
    tree.service("b", "exit 1\n")
    tree.start(wait=False)
    pid = tree.wait_ready("a")
    # b comes and goes: what stays open is the least that is seen
    count = min(len(os.listdir(f"/proc/{tree.process.pid}/fd")) for _ in range(200) if not time.sleep(0.005))
    resource.prlimit(tree.process.pid, resource.RLIMIT_NOFILE, (count - 3, 4096))
    os.kill(pid, signal.SIGKILL)
    tree.wait_said("ended", "a: pipe: Too many open files")
    assert len(tree.wait_said("state", "can't be written")) == 1, "said once"
    resource.prlimit(tree.process.pid, resource.RLIMIT_NOFILE, (1024, 4096))
    tree.wait_ready("a", other_than=pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="the limit is one of a user, and root has none")
def test_no_more_processes(tree):
    """clone fails: the same, under another user, who may have two processes."""
    user = 60000 + os.getpid() % 4000

    def become():
        resource.setrlimit(resource.RLIMIT_NPROC, (2, 2))
        os.setgid(65534)
        os.setuid(user)
    tree.service("a")
    os.chmod(tree.dir, 0o777)
    tree.start(preexec_fn=become)
    pid = tree.pid("a")
    other = subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: os.setuid(user))
    try:
        os.kill(pid, signal.SIGKILL)
        tree.wait_said("ended", "a: clone: Resource temporarily unavailable")
    finally:
        other.kill()
        other.wait()
    tree.wait_ready("a", other_than=pid)


def test_run_directory_removed_by_somebody(tree):
    """A tmp cleaner: state can't be written, services live on and are restarted."""
    tree.service("a", SLEEP, "")
    tree.start()
    os.rename(tree.run_dir, tree.dir / "gone")
    old = children(tree)
    os.kill(old[0], signal.SIGKILL)
    time.sleep(0.3)
    assert tree.process.poll() is None
    os.rename(tree.dir / "gone", tree.run_dir)
    tree.wait_for(lambda: another_child(tree, old), 5, "it is started again")
