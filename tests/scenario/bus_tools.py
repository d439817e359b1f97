"""Starts tests/tools/bus_echo.c for the tests of the bus."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("ORCH_TEST_BIN", ROOT / "build" / "bin"))
ECHO = BIN.parent / "test-bin" / "bus_echo"
NAME = "scheduler"


def echo(*words, timeout=20, **more):
    """Runs bus_echo to its end; (exit code, what it printed)."""
    done = subprocess.run([ECHO, *map(str, words)], capture_output=True, text=True,
                          timeout=timeout, **more)
    return done.returncode, done.stdout.strip()


def nng_version():
    return tuple(int(part) for part in echo("version")[1].split(".")[:2])


class Server:
    """One bus_echo, in a run directory short enough for a socket's path."""

    def __init__(self, mode="serve", *words, run_dir=None):
        self.run_dir = run_dir or tempfile.mkdtemp(prefix="ob-",
                                                   dir=os.environ.get("ORCH_TEST_TMP", "/tmp"))
        self.words = [mode, self.run_dir, NAME, *map(str, words)]
        self.process = None
        self.start()

    @property
    def path(self):
        return f"{self.run_dir}/{NAME}.ipc"

    def start(self):
        self.process = subprocess.Popen([ECHO, *self.words], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while not self.ping() or echo("call", self.run_dir, NAME, 1, 500)[0] != 0:
            assert time.monotonic() < deadline, "the server never answered"

    def ping(self, timeout_ms=300):
        """The proof of life: a fresh connection and an answer."""
        code, said = echo("ping", self.run_dir, NAME, timeout_ms)
        return code == 0 and int(said) == self.process.pid

    def kill(self):
        self.process.kill()
        self.process.wait()

    def heal(self):
        """What the reaper and the supervisor do with a service that missed its pings."""
        self.kill()
        self.start()

    def stop_signal(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.run_dir, ignore_errors=True)


class Line:
    """A client with one connection for life."""

    def __init__(self, run_dir):
        self.process = subprocess.Popen([ECHO, "line", run_dir, NAME], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)

    def ask(self, seq=1):
        """("ack" or errno's name, microseconds)"""
        self.process.stdin.write(f"{seq}\n")
        self.process.stdin.flush()
        word, micros = self.process.stdout.readline().split()
        return word, int(micros)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
