-- main.db, schema version 1. One writer: the scheduler. Others open it read-only (ingress, tools).
-- Times are milliseconds since 1970 UTC. Migrations live in services/scheduler/migrations.c and only add.

CREATE TABLE meta (             -- single facts: inbox_position, paused, draining, reconcile_pass, ...
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    id                INTEGER PRIMARY KEY,          -- order of creation
    project           TEXT NOT NULL,
    repo              TEXT NOT NULL,
    issue             TEXT NOT NULL UNIQUE,         -- tracker issue id; '~<id>' appended once cancelled
    key               TEXT NOT NULL UNIQUE,         -- SHOP-12; likewise
    branch            TEXT NOT NULL UNIQUE,         -- feature/SHOP-12-slug; likewise
    natural_key       TEXT NOT NULL,                -- key without any suffix, for predecessors
    title             TEXT NOT NULL,
    description       TEXT NOT NULL,
    labels            TEXT NOT NULL DEFAULT '[]',   -- JSON array
    priority          INTEGER NOT NULL DEFAULT 0,   -- greater is sooner
    stage             TEXT NOT NULL,
    entry             INTEGER NOT NULL,             -- transitions.id of the arrival in stage
    terminal          INTEGER NOT NULL DEFAULT 0,   -- 1 for done and cancelled
    blocked_reason    TEXT,                         -- 'code: text'
    blocked_since     INTEGER,
    blocked_counter   TEXT,                         -- what a retry resets: rollbacks | attempts | ''
    parked_for        TEXT,                         -- approval | confirm | ci
    parked_since      INTEGER,
    rollbacks         INTEGER NOT NULL DEFAULT 0,   -- since a person's last act
    findings          TEXT NOT NULL DEFAULT '[]',   -- JSON array: for the next developer's brief
    display           TEXT,                         -- logical status last ordered
    display_confirmed INTEGER NOT NULL DEFAULT 0,   -- entry whose own display the tracker confirmed
    pr_number         INTEGER,
    pr_url            TEXT,
    pr_head           TEXT,
    head              TEXT,                         -- branch head after the last run
    merged_commit     TEXT,
    stop_requested    INTEGER NOT NULL DEFAULT 0,   -- deferred STOP
    cleanup_job       INTEGER,                      -- cancelled: its cleanup, unreported while set
    effect_ordinal    INTEGER NOT NULL DEFAULT 0,   -- last ordinal given to an effect
    issue_updated     INTEGER NOT NULL DEFAULT 0,   -- newest updated_at seen from the tracker
    comments          TEXT NOT NULL DEFAULT '[]',   -- people's, as the tracker last told: {author, body, at_ms}
    comments_at       INTEGER NOT NULL DEFAULT 0,   -- when it told
    asked_at          INTEGER NOT NULL DEFAULT 0,   -- last answer to a query, 'unknown' included
    created_at        INTEGER NOT NULL,
    ended_at          INTEGER
) STRICT;
CREATE INDEX tasks_live ON tasks(repo, id) WHERE terminal = 0;
CREATE INDEX tasks_natural ON tasks(natural_key);
CREATE INDEX tasks_cleanup ON tasks(natural_key) WHERE cleanup_job IS NOT NULL; -- gates the successor
CREATE INDEX tasks_ended ON tasks(ended_at) WHERE terminal = 1;                 -- retention

CREATE TABLE transitions (      -- append-only; id is the entry
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    task       INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    from_stage TEXT,
    to_stage   TEXT NOT NULL,
    why        TEXT NOT NULL,   -- 'code: text'
    actor      TEXT NOT NULL,   -- person, role, or the service that found it
    detail     TEXT NOT NULL DEFAULT '{}',
    at         INTEGER NOT NULL
) STRICT;
CREATE INDEX transitions_task ON transitions(task, id);

CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    task       INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    project    TEXT NOT NULL,   -- copied from the task: the claim reads no other table for limits
    repo       TEXT NOT NULL,
    entry      INTEGER NOT NULL,
    stage      TEXT NOT NULL,
    stage_rank INTEGER NOT NULL,                    -- position in the table of stages
    kind       TEXT NOT NULL,   -- agent merge-gate merge finalizer cleanup query
    role       TEXT,
    state      TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued','running','done','failed','cancelled')),
    priority   INTEGER NOT NULL DEFAULT 0,
    attempt    INTEGER NOT NULL DEFAULT 1,          -- counted attempts
    transient  INTEGER NOT NULL DEFAULT 0,          -- transient attempts, a budget of its own
    losses     INTEGER NOT NULL DEFAULT 0,          -- lost runs in a row
    runs       INTEGER NOT NULL DEFAULT 0,          -- runs so far: the number in the next run id
    session    TEXT,                                -- to resume
    not_before INTEGER NOT NULL DEFAULT 0,
    reason     TEXT NOT NULL DEFAULT '',            -- why it waits or how it ended, 'code: text'
    input      TEXT NOT NULL DEFAULT '{}',          -- query: {what}; reserved: {head}
    run        TEXT,                                -- current run while running
    created_at INTEGER NOT NULL,
    claimed_at INTEGER,
    ended_at   INTEGER
) STRICT;
-- Live rows only, so that neither the scan for a candidate nor the NOT EXISTS of the serial gate ever
-- walks history.
CREATE INDEX jobs_queued  ON jobs(stage_rank DESC, priority DESC, task, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs(project, role) WHERE state = 'running';
CREATE INDEX jobs_live    ON jobs(task, entry) WHERE state IN ('queued','running');
CREATE INDEX jobs_queries ON jobs(id) WHERE state = 'queued' AND kind = 'query';
CREATE INDEX jobs_task    ON jobs(task, id);

CREATE TABLE agent_runs (       -- every run, reserved jobs' included
    id             TEXT PRIMARY KEY,                -- <key>-j<job>-r<n>
    job            INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    task           INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    entry          INTEGER NOT NULL,
    role           TEXT,
    attempt        INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('commanded','accepted','started','ended')),
    command        TEXT NOT NULL,                   -- the run_start message, until acknowledged
    stop           TEXT,                            -- a run_stop that is not acknowledged, its reason
    commanded_at   INTEGER NOT NULL,
    accepted_at    INTEGER,
    started_at     INTEGER,                         -- agent start
    ended_at       INTEGER,
    agent_pid      INTEGER,
    progress       TEXT,                            -- last run_progress, JSON
    outcome        TEXT,
    class          TEXT,
    reason         TEXT,
    exit_code      INTEGER,
    session        TEXT,
    input_tokens INTEGER, output_tokens INTEGER, cache_read_tokens INTEGER, cache_creation_tokens INTEGER,
    cost_usd       REAL,
    gate           TEXT,                            -- JSON
    result         TEXT                             -- the run_result message
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_runs_live ON agent_runs(job) WHERE state <> 'ended';
CREATE INDEX agent_runs_to_tell ON agent_runs(commanded_at, id)
    WHERE state <> 'ended' AND (state = 'commanded' OR stop IS NOT NULL);
CREATE INDEX agent_runs_task ON agent_runs(task, commanded_at);
CREATE INDEX agent_runs_job ON agent_runs(job);     -- for the foreign key, when retention deletes a job

CREATE TABLE effects (          -- outbox
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    task         INTEGER REFERENCES tasks(id) ON DELETE CASCADE,
    ordinal      INTEGER NOT NULL,
    external_id  TEXT NOT NULL UNIQUE,              -- 't<task>-<ordinal>'
    kind         TEXT NOT NULL,                     -- status comment label alert
    droppable    INTEGER NOT NULL DEFAULT 0,        -- 1: a terminal transition drops it undelivered
    entry        INTEGER,                           -- status: the entry it displays
    author       TEXT NOT NULL,
    status       TEXT,
    body         TEXT,
    state        TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending','handed','delivered','dropped')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    not_before   INTEGER NOT NULL DEFAULT 0,
    handed_boot  TEXT,                              -- boot of the notifier that holds it
    reason       TEXT NOT NULL DEFAULT '',
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;
CREATE INDEX effects_waiting ON effects(task, id) WHERE state IN ('pending','handed');
CREATE INDEX effects_task ON effects(task, id);

CREATE TABLE decisions (        -- what became of an accepted event; ingress answers commands from it
    event      INTEGER PRIMARY KEY,                 -- inbox.db events.seq
    result     TEXT NOT NULL,                       -- applied | refused | ignored
    reason     TEXT NOT NULL,                       -- 'code: text'
    task       INTEGER,
    at         INTEGER NOT NULL
) STRICT;

CREATE TABLE commands_seen (    -- a command counts once per (task, entry, command)
    task    INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    entry   INTEGER NOT NULL,
    command TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (task, entry, command)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (           -- the right to merge into a repository's default branch
    repo        TEXT PRIMARY KEY,
    task        INTEGER NOT NULL REFERENCES tasks(id),
    since       INTEGER NOT NULL,
    used_by_run TEXT,                               -- run of the job using it now, null while parked
    old_head TEXT, new_head TEXT, base TEXT,        -- what the merge gate judged
    intent_head TEXT, intent_run TEXT, intent_at INTEGER  -- written when the merge job is claimed
) STRICT, WITHOUT ROWID;

CREATE TABLE repo_freeze (
    repo   TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    actor  TEXT NOT NULL,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE breakers (
    provider TEXT PRIMARY KEY,
    state    TEXT NOT NULL,                         -- closed | open | half-open
    failures INTEGER NOT NULL DEFAULT 0,
    until    INTEGER,
    reason   TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE cards (
    task    INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
    message TEXT NOT NULL,
    detail  TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE deploys (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    task    INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    state   TEXT NOT NULL,
    head    TEXT, image TEXT, actor TEXT,
    detail  TEXT NOT NULL DEFAULT '{}',
    at      INTEGER NOT NULL,
    UNIQUE (task, attempt)
) STRICT;

CREATE TABLE windows (          -- observation after a deploy
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    task    INTEGER NOT NULL UNIQUE REFERENCES tasks(id) ON DELETE CASCADE,
    armed   INTEGER NOT NULL,
    ends    INTEGER NOT NULL,
    verdict TEXT,                                   -- HEALTHY | DEGRADED | closed; null while open
    detail  TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX windows_open ON windows(id) WHERE verdict IS NULL;

CREATE TABLE alerts (
    key        TEXT PRIMARY KEY,                    -- the same key twice is one alert
    task       INTEGER,
    text       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    cleared_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX alerts_open ON alerts(task) WHERE cleared_at IS NULL;

CREATE TABLE journal (          -- the published record of every state change; events.ipc, /events and orchctl read it
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    event   TEXT NOT NULL,
    task    TEXT, stage TEXT, job INTEGER, run TEXT, service TEXT,
    detail  TEXT NOT NULL DEFAULT '{}'
) STRICT;

-- The built-in tracker's data. Used by no decision: what is decided on comes as events and findings.
CREATE TABLE local_issues (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- issue id is 'local-<id>'
    project      TEXT NOT NULL,
    key          TEXT NOT NULL UNIQUE,
    title        TEXT NOT NULL,
    body         TEXT NOT NULL DEFAULT '',
    status       TEXT NOT NULL,                     -- status name, as people see it
    labels       TEXT NOT NULL DEFAULT '[]',
    status_ours  INTEGER NOT NULL DEFAULT 0,        -- 1: we wrote the status last
    status_unheard INTEGER NOT NULL DEFAULT 0,      -- 1: a person's command that raised no event (a lost webhook)
    status_actor TEXT,
    status_external_id TEXT,                        -- of our last write
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX local_issues_project ON local_issues(project, id);

CREATE TABLE local_comments (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    issue       INTEGER NOT NULL REFERENCES local_issues(id) ON DELETE CASCADE,
    author      TEXT NOT NULL,
    body        TEXT NOT NULL,
    external_id TEXT UNIQUE,                        -- ours only
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX local_comments_issue ON local_comments(issue, id);

CREATE TABLE local_status_history (                 -- each status write that took effect, for people and tests
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    issue       INTEGER NOT NULL REFERENCES local_issues(id) ON DELETE CASCADE,
    status      TEXT NOT NULL,
    actor       TEXT NOT NULL,
    external_id TEXT UNIQUE,
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX local_status_history_issue ON local_status_history(issue, id);
