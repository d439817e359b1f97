"""A database that cannot be written: 503 with Retry-After, nothing acknowledged is lost, and all is
well by itself once it can be written again.

Mutation tried, red in each test: an event that failed answered with 202."""

import json
import resource
import time

import pytest
from disk_kit import SmallDisk, require_mounts
from ingress_kit import wait_for

DISK_KB = 16384


@pytest.fixture
def small_disk(make_ingress):
    require_mounts()
    ingress = make_ingress(start=False)
    (ingress.home / "db").mkdir(parents=True)
    disk = SmallDisk(ingress.home / "db", DISK_KB)
    ingress.prefix = disk.prefix
    ingress.start()
    yield ingress, disk
    if ingress.process.poll() is None:
        ingress.kill()
    disk.close()


def bodies_on(disk, ingress):
    """What is in the file, read where it is."""
    script = ("import sqlite3, sys; d = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)\n"
              "print('\\n'.join(r[0].decode() for r in d.execute('SELECT body FROM events')))")
    return disk.run("/usr/bin/python3", "-c", script, str(ingress.home / "db/inbox.db")
                    ).stdout.split()


def send(ingress, n, accepted):
    body = json.dumps({"n": n, "pad": "x" * 3000}, separators=(",", ":")).encode()
    answer = ingress.webhook("plane", body)
    assert answer.status in (202, 503), answer
    if answer.status == 202:
        assert answer.json["duplicate"] is False
        accepted.append(body.decode())
    else:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json["error"]["code"] in ("not-durable", "busy")
    return answer.status


def says_so(ingress):
    health = ingress.request("GET", "/health", token=None)
    return health.status == 503 and health.json["database"]["writable"] is False and \
        bool(health.json["database"]["error"])


def is_well(ingress):
    return ingress.request("GET", "/health", token=None).json["database"]["writable"]


def test_a_full_disk(small_disk):
    ingress, disk = small_disk
    accepted = []
    for n in range(50):
        assert send(ingress, n, accepted) == 202
    disk.fill("4k")  # all but the last pages
    for turn in range(2):
        n = 1000 * (turn + 1)
        wait_for(lambda: send(ingress, time.monotonic_ns(), accepted) == 503, 10, "the disk is full")
        refused = sum(send(ingress, n + i, accepted) == 503 for i in range(40))
        assert refused > 20
        assert says_so(ingress)
        assert ingress.process.poll() is None
        assert set(accepted) <= set(bodies_on(disk, ingress))
        if turn == 0:  # the next life begins on a full disk
            ingress.kill()
            ingress.start(wait=False).wait_listening()
            wait_for(lambda: says_so(ingress), 5, "it answers although it cannot write")
    disk.free()
    wait_for(lambda: is_well(ingress), 5, "it recovers by itself")
    for n in range(5000, 5050):
        assert send(ingress, n, accepted) == 202
    ingress.kill()
    kept = bodies_on(disk, ingress)
    assert len(kept) == len(set(kept))
    # A commit that failed may be there all the same (its answer was "send it again"); never the
    # other way round.
    assert set(accepted) <= set(kept)
    assert len(kept) - len(accepted) <= 5


def test_files_that_may_not_grow(ingress):
    """The same without any privilege: the kernel's limit on the size of a file (EFBIG)."""
    accepted = []
    for n in range(20):
        assert send(ingress, n, accepted) == 202
    old = resource.prlimit(ingress.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(ingress.process.pid, resource.RLIMIT_FSIZE, (8192, old[1]))
    assert {send(ingress, 100 + n, accepted) for n in range(30)} == {503}
    assert says_so(ingress)
    assert {row[3].decode() for row in ingress.rows()} >= set(accepted)
    resource.prlimit(ingress.process.pid, resource.RLIMIT_FSIZE, old)
    wait_for(lambda: is_well(ingress), 5, "it recovers by itself")
    for n in range(200, 220):
        assert send(ingress, n, accepted) == 202
    kept = [row[3].decode() for row in ingress.rows()]
    assert len(kept) == len(set(kept))
    assert set(accepted) <= set(kept)


def test_a_database_of_another_kind(make_ingress):
    """Not ours, or corrupt: 503 that names it, and no write into it."""
    ingress = make_ingress(start=False)
    (ingress.home / "db").mkdir(parents=True)
    path = ingress.home / "db/inbox.db"
    path.write_bytes(b"a person's file, by mistake at this place" * 500)
    before = path.read_bytes()
    ingress.start(wait=False).wait_listening()
    wait_for(lambda: ingress.log.exists() and b"cannot be written" in ingress.log.read_bytes(), 5,
             "it says so in the log")
    assert ingress.webhook("plane", b"{}").status == 503
    assert says_so(ingress)
    assert path.read_bytes() == before
    path.rename(ingress.home / "db/elsewhere")
    wait_for(lambda: ingress.webhook("plane", b"{}").status == 202, 5, "it recovers by itself")
