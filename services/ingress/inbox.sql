-- inbox.db, schema version 1. One writer: ingress. The scheduler opens it read-only and keeps its
-- position in main.db, in the transaction of what it did.

CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,                -- order of acceptance; the newest row is never deleted
    source      TEXT NOT NULL,                      -- plane | gitea | local | operator
    delivery    TEXT NOT NULL,                      -- plane, gitea: SHA-256 of the body; local, operator: its own id
    body        BLOB NOT NULL,                      -- the raw bytes as they came
    headers     TEXT NOT NULL DEFAULT '{}',         -- JSON: the few header values that mean something (event type)
    received_at INTEGER NOT NULL,
    UNIQUE (source, delivery)
) STRICT;
