"""Many threads ask and post while their peer is killed and started again and again.

Built with SAN=thread (ORCH_TEST_BIN=build/tsan/bin) this is the data race test of the bus too.
Mutations that turn it red: a finished question not given back before its answer is taken (another's
answer); bus_post that reports a failed send and a failed receive (a post ends twice); the status
snapshot read without the mutex (thread sanitizer).
"""
import os
import shutil
import subprocess
import tempfile

from bus_tools import BIN, ECHO


def test_everything_at_once():
    run_dir = tempfile.mkdtemp(prefix="ob-", dir=os.environ.get("ORCH_TEST_TMP", "/tmp"))
    try:
        done = subprocess.run(
            [BIN.parent / "test-bin" / "bus_storm", run_dir, ECHO, "5"], timeout=60, text=True,
            capture_output=True, env={**os.environ, "TSAN_OPTIONS": "halt_on_error=1"})
    finally:
        shutil.rmtree(run_dir)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout
