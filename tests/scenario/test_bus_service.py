"""What every service does first and last: configuration, lock, readiness, stop."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from bus_tools import ECHO


class Home:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="os-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp")))
        self.config = self.dir / "o.yaml"
        self.write()
        self.started = []

    def write(self, more=""):
        self.config.write_text(f"home: {self.dir}/h\nrun_dir: {self.dir}/r\nlock_wait_s: 1\n{more}")

    def start(self, **environment):
        """A service; its readiness pipe and standard error are its attributes."""
        mine, its = os.pipe()
        names = {k: v for k, v in os.environ.items() if not k.startswith("ORCH_")}
        process = subprocess.Popen([ECHO, "service", "-c", str(self.config)], text=True,
                                   stderr=subprocess.PIPE, pass_fds=[its],
                                   env={**names, "ORCH_NOTIFY_FD": str(its), **environment})
        os.close(its)
        process.ready = os.fdopen(mine, "rb")
        self.started.append(process)
        return process

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()
            process.ready.close()
            process.stderr.close()
        shutil.rmtree(self.dir)


@pytest.fixture
def home():
    home = Home()
    yield home
    home.close()


def ping(home):
    return subprocess.run([ECHO, "ping", f"{home.dir}/r", "monitor", "500"],
                          capture_output=True).returncode == 0


def test_ready_then_stopped(home):
    process = home.start()
    # One newline, then the end of file: the descriptor is closed and nobody inherited it.
    assert process.ready.read() == b"\n"
    assert ping(home)
    assert (home.dir / "h/lock/monitor.lock").read_text() == f"monitor pid {process.pid}\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=3) == 0
    lines = [json.loads(line) for line in process.stderr]
    assert [line["event"] for line in lines] == ["ready", "stop"]
    assert {"ts", "level", "service", "pid", "event", "msg"} == set(lines[0])


def test_a_second_copy_names_the_holder_and_goes(home):
    """Mutation: the bus opened before the lock is held (the first one goes deaf or loses its path)."""
    first = home.start()
    assert first.ready.read() == b"\n"
    second = home.start()
    from_then = time.monotonic()
    assert second.wait(timeout=5) == 111
    assert 0.8 < time.monotonic() - from_then < 3
    assert second.ready.read() == b"", "it must never say that it is ready"
    assert f"monitor pid {first.pid}" in second.stderr.read()
    assert ping(home)


def test_the_successor_of_a_killed_one_starts(home):
    first = home.start()
    assert first.ready.read() == b"\n"
    second = home.start()
    time.sleep(0.3)
    first.kill()
    assert second.ready.read() == b"\n"
    assert ping(home)


def test_a_stop_ends_the_wait_for_the_lock(home):
    """Mutation: a plain sleep while waiting: the stop is not heard for 30 s."""
    first = home.start()
    assert first.ready.read() == b"\n"
    second = home.start(ORCH_LOCK_WAIT_S="30")
    time.sleep(0.3)
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=1) == 0


def test_a_faulty_configuration_is_said_in_full(home):
    home.write("reaper: {interval_s: 0}\nbogus: 1\n")
    process = home.start()
    assert process.wait(timeout=3) == 100
    said = process.stderr.read()
    assert f"{home.config}:4: reaper.interval_s: 0 is out of range" in said
    assert f"{home.config}:5: bogus: unknown key" in said


def test_directories_are_the_owners(home):
    assert home.start().ready.read() == b"\n"
    assert oct((home.dir / "r").stat().st_mode & 0o777) == "0o700"


def test_ready_soon(home):
    took = []
    for _ in range(10):
        from_then = time.monotonic()
        process = home.start()
        assert process.ready.read() == b"\n"
        took.append((time.monotonic() - from_then) * 1000)
        process.kill()
        process.wait()
    print(f"start to ready: {sorted(round(t, 1) for t in took)} ms (the interpreter's fork included)")
    assert sorted(took)[4] < 60
