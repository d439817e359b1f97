"""The peer of the benchmark: the webhook endpoint that a good engineer would write with FastAPI:
HMAC over the raw body, one durable SQLite row per event (WAL, synchronous=FULL), then 202.
Run by uvicorn with uvloop and httptools, without an access log.

The database is called on the event loop: a thread pool was slower (one writer, short calls)."""
import hashlib
import hmac
import os
import sqlite3
import time

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

SECRET = os.environ["PEER_SECRET"].encode()
MAX_BODY = 1048576

database = sqlite3.connect(os.environ["PEER_DB"], isolation_level=None, check_same_thread=False)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=FULL")
database.execute(
    "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, source TEXT NOT NULL,"
    " delivery TEXT NOT NULL, body BLOB NOT NULL, headers TEXT NOT NULL, received_at INTEGER NOT NULL,"
    " UNIQUE (source, delivery))"
)
app = FastAPI()


@app.post("/webhook/plane")
async def webhook(request: Request):
    body = await request.body()
    if len(body) > MAX_BODY:
        return JSONResponse({"error": "too large"}, status_code=413)
    expected = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("x-plane-signature", "")):
        return JSONResponse({"error": "signature"}, status_code=401)
    if body.lstrip()[:1] != b"{":
        return JSONResponse({"error": "no object"}, status_code=400)
    key = hashlib.sha256(body).hexdigest()
    row = database.execute(
        "INSERT INTO events (source, delivery, body, headers, received_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING RETURNING seq",
        ("plane", key, body, '{"event":"issue"}', int(time.time() * 1000)),
    ).fetchone()
    duplicate = row is None
    if duplicate:
        row = database.execute(
            "SELECT seq FROM events WHERE source = 'plane' AND delivery = ?", (key,)
        ).fetchone()
    return JSONResponse({"event_id": row[0], "duplicate": duplicate}, status_code=202)
