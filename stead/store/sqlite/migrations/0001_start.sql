-- Times are milliseconds since the epoch on this database's clock; money is micro-dollars.

CREATE TABLE message (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    channel     TEXT NOT NULL,
    external_id TEXT NOT NULL,
    session     TEXT NOT NULL,
    turn        INTEGER NOT NULL,
    role        TEXT NOT NULL,
    text        TEXT NOT NULL,
    at          INTEGER NOT NULL,
    job_id      TEXT,
    body_hash   TEXT NOT NULL DEFAULT '',
    -- Of an answer: what its run had read (foreign, private).
    read        TEXT NOT NULL DEFAULT '',
    -- When the owner had its words taken out; that it was said stays.
    pruned_at   INTEGER NOT NULL DEFAULT 0,
    -- The turn from which on it takes the place of what was said, in prompts (0: of none).
    back_to     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX message_identity ON message (channel, external_id);
CREATE INDEX message_session ON message (session, turn, seq);
CREATE INDEX message_job ON message (job_id);
CREATE INDEX message_retry ON message (body_hash, at) WHERE body_hash <> '';
CREATE INDEX message_instead ON message (session, turn) WHERE back_to > 0;

-- Files that were handed in. Their bytes lie in files/ of the home, by their SHA-256.
CREATE TABLE file (
    id     TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    size   INTEGER NOT NULL,
    name   TEXT NOT NULL,
    type   TEXT NOT NULL,
    kind   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    person TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The messages that they hang on.
CREATE TABLE attachment (
    message_id TEXT NOT NULL,
    place      INTEGER NOT NULL,
    file_id    TEXT NOT NULL,
    PRIMARY KEY (message_id, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_file ON attachment (file_id);

CREATE TABLE session (
    id        TEXT PRIMARY KEY,
    turns     INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    -- As the owner calls it; empty: by its first words.
    name      TEXT NOT NULL DEFAULT '',
    -- When the owner ended it, and took it out of the list; what is said in it undoes both.
    ended_at  INTEGER NOT NULL DEFAULT 0,
    hidden_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The distinct demands that jobs make of whoever takes them. There are few of them, so a claim
-- is one look for each that a node can meet, however many jobs there are.
CREATE TABLE demand (
    id     INTEGER PRIMARY KEY,  -- made from the rest, so the same everywhere
    needs  TEXT NOT NULL,
    prefer TEXT NOT NULL,
    avoid  TEXT NOT NULL,
    limits TEXT NOT NULL
) STRICT;

-- When jobs of a key were started, as long as a limit of that key looks back.
CREATE TABLE start (
    key  TEXT NOT NULL,
    at   INTEGER NOT NULL,
    many INTEGER NOT NULL,
    PRIMARY KEY (key, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
    id           TEXT PRIMARY KEY,
    lane         TEXT NOT NULL CHECK (lane IN ('chat', 'background')),
    prio         INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    needs        TEXT NOT NULL,
    prefer       TEXT NOT NULL DEFAULT '',
    avoid        TEXT NOT NULL DEFAULT '',
    payload      TEXT NOT NULL CHECK (json_valid(payload)),
    -- Not IN (...): for more than two values SQLite makes a table of them at each change of a row.
    state        TEXT NOT NULL CHECK (state = 'queued' OR state = 'running' OR state = 'done'
                 OR state = 'waiting' OR state = 'cancelled' OR state = 'dead'),
    -- Why it is queued but not ready (0: it is): see stead/store/sqlite/holds.py.
    hold         INTEGER NOT NULL DEFAULT 0,
    demand       INTEGER NOT NULL,
    -- Its place among the ready: the time it is due, plus so much for each step of its prio.
    rank         INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    run_at       INTEGER NOT NULL,
    deadline_at  INTEGER NOT NULL DEFAULT 0,
    epoch        INTEGER NOT NULL DEFAULT 0,
    tries        INTEGER NOT NULL DEFAULT 0,
    crashes      INTEGER NOT NULL DEFAULT 0,
    max_tries    INTEGER NOT NULL,
    max_crashes  INTEGER NOT NULL,
    node_id      TEXT,
    boot         TEXT,
    lease_until  INTEGER NOT NULL DEFAULT 0,
    claim_req    TEXT,
    cancel_req   INTEGER NOT NULL DEFAULT 0,
    conc_key     TEXT,
    conc_limit   INTEGER NOT NULL DEFAULT 1,
    idem_key     TEXT,
    message_id   TEXT,
    session      TEXT,
    turn         INTEGER NOT NULL DEFAULT 0,
    route        TEXT NOT NULL DEFAULT '',
    -- When it would have begun, had it been worked on ever since: moved on at each claim by the
    -- time that nobody worked on it, so that its limit on time counts work alone.
    started_at   INTEGER NOT NULL DEFAULT 0,
    -- When the present attempt began; it gets its row in `attempt` when it ends.
    attempt_at   INTEGER NOT NULL DEFAULT 0,
    ended_at     INTEGER NOT NULL DEFAULT 0,
    error        TEXT NOT NULL DEFAULT '',
    waiting_for  TEXT NOT NULL DEFAULT '',
    history_upto INTEGER NOT NULL DEFAULT 0,
    -- How many others its worker held that may as well have brought it down.
    beside       INTEGER NOT NULL DEFAULT 0,
    -- When the owner had its words taken out; that it was done stays.
    forgotten_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
-- Few indexes are touched on a job's usual way: job_ready in and out, job_running in and out.
CREATE INDEX job_ready ON job (hold, lane, demand, rank, id) WHERE state = 'queued';
CREATE INDEX job_running ON job (claim_req) WHERE state = 'running';
-- Nearly always empty: what ran on a worker that vanished, and is not over.
CREATE INDEX job_suspect ON job (state) WHERE crashes > 0 AND state IN ('queued', 'running');
CREATE INDEX job_stuck ON job (state, id) WHERE state IN ('waiting', 'dead');
CREATE INDEX job_deadline ON job (deadline_at) WHERE deadline_at > 0 AND state IN ('queued', 'waiting');
CREATE INDEX job_later ON job (run_at) WHERE state = 'queued' AND hold IN (2, 3);
CREATE INDEX job_conc ON job (conc_key, hold, id)
    WHERE conc_key IS NOT NULL AND state IN ('queued', 'running');
CREATE UNIQUE INDEX job_idem ON job (idem_key) WHERE idem_key IS NOT NULL;

-- The attempts that have ended.
CREATE TABLE attempt (
    job_id     TEXT NOT NULL,
    epoch      INTEGER NOT NULL,
    node_id    TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    outcome    TEXT NOT NULL,
    error      TEXT NOT NULL,
    worked_ms  INTEGER NOT NULL,
    -- The report that ended it and what it was answered, so that a repeat gets the same.
    report_id  TEXT NOT NULL,
    reply      TEXT NOT NULL,
    -- Of one whose worker vanished: the step that was under way, in words.
    under_way  TEXT NOT NULL,
    -- When its worker came back with a report, though it had been taken from it (0: it has not).
    discarded_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, epoch)
) STRICT, WITHOUT ROWID;

-- Why an attempt went to a node that its job does not prefer, in words.
CREATE TABLE given (
    job_id TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    epoch  INTEGER NOT NULL,
    why    TEXT NOT NULL,
    PRIMARY KEY (job_id, epoch)
) STRICT, WITHOUT ROWID;

-- What such a worker reported: evidence for people, never merged. One row a step, one for the end.
CREATE TABLE discarded (
    job_id TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    epoch  INTEGER NOT NULL,
    part   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    body   TEXT NOT NULL CHECK (json_valid(body)),
    PRIMARY KEY (job_id, epoch, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE step (
    job_id            TEXT NOT NULL,
    seq               INTEGER NOT NULL,
    epoch             INTEGER NOT NULL,
    name              TEXT NOT NULL,
    input_hash        TEXT NOT NULL,
    state             TEXT NOT NULL,
    rule              TEXT NOT NULL,
    input             TEXT NOT NULL,
    output            TEXT NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_micro        INTEGER NOT NULL,
    started_at        INTEGER NOT NULL,
    ended_at          INTEGER NOT NULL,
    note              TEXT NOT NULL,
    effects           TEXT NOT NULL DEFAULT 'none',
    parts             TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, seq, epoch)
) STRICT, WITHOUT ROWID;

-- Which attempt (epoch) used the outcome of a step again, and what had changed since.
CREATE TABLE replay (
    job_id TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    seq    INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    note   TEXT NOT NULL,
    PRIMARY KEY (job_id, seq, epoch)
) STRICT, WITHOUT ROWID;

-- What of memory a job is shown (stead.core.recall.Recall), the same at each of its attempts.
CREATE TABLE recall (
    job_id TEXT PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    at     INTEGER NOT NULL,
    body   TEXT NOT NULL CHECK (json_valid(body))
) STRICT, WITHOUT ROWID;

-- Conversations of which nothing stays but what they cost; a row goes with their words.
CREATE TABLE off_record (
    session  TEXT PRIMARY KEY,
    said_at  INTEGER NOT NULL,
    ended    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Questions to the owner about single calls (stead.core.permits.Approval).
CREATE TABLE approval (
    id           TEXT PRIMARY KEY,  -- of the report that let its job wait
    job_id       TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    seq          INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    tool         TEXT NOT NULL,
    preview      TEXT NOT NULL,
    args         TEXT NOT NULL,
    digest       TEXT NOT NULL,
    why          TEXT NOT NULL,
    is_foreign   INTEGER NOT NULL,
    offers       TEXT NOT NULL CHECK (json_valid(offers)),
    job_scope    TEXT NOT NULL,
    always_scope TEXT NOT NULL,
    always       TEXT NOT NULL,
    asked_at     INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('open', 'answered', 'expired', 'void')),
    word         TEXT NOT NULL DEFAULT '',
    said         TEXT NOT NULL DEFAULT '',  -- in the owner's words: why not, or the answer
    answered_by  TEXT NOT NULL DEFAULT '',
    answered_at  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_open ON approval (expires_at) WHERE state = 'open';
CREATE INDEX approval_job ON approval (job_id);

-- What the owner has allowed for ever, by the digest of the calls that are meant.
CREATE TABLE permit_grant (
    id          TEXT PRIMARY KEY,
    at          INTEGER NOT NULL,
    tool        TEXT NOT NULL,
    scope       TEXT NOT NULL,
    always      TEXT NOT NULL,
    preview     TEXT NOT NULL,
    job_id      TEXT NOT NULL,
    granted_by  TEXT NOT NULL,
    revoked_at  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id   TEXT NOT NULL UNIQUE,
    channel      TEXT NOT NULL,
    session      TEXT NOT NULL,
    job_id       TEXT,
    state        TEXT NOT NULL,
    tries        INTEGER NOT NULL DEFAULT 0,
    next_at      INTEGER NOT NULL,
    delivered_at INTEGER NOT NULL DEFAULT 0,
    note         TEXT NOT NULL DEFAULT '',
    -- 1: an earlier reply of the same conversation is still under way on this channel.
    blocked      INTEGER NOT NULL DEFAULT 0,
    -- How often it was sent without anybody knowing whether it arrived.
    doubts       INTEGER NOT NULL DEFAULT 0
) STRICT;
-- In these very words in the statements that are to use it; not IN (...), for the reason above.
CREATE INDEX outbox_open ON outbox (channel, state, blocked, id)
    WHERE state = 'pending' OR state = 'sending' OR state = 'ambiguous' OR state = 'failed';
CREATE INDEX outbox_conversation ON outbox (channel, session, blocked, id)
    WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_job ON outbox (job_id);

-- The audit: one row for each request at the model door (stead.core.nouns.Call).
CREATE TABLE call (
    id                 TEXT PRIMARY KEY,
    at                 INTEGER NOT NULL,
    caller             TEXT NOT NULL,
    key_id             TEXT NOT NULL,
    job_id             TEXT,
    share              TEXT NOT NULL,
    api                TEXT NOT NULL,
    asked              TEXT NOT NULL,
    lane               TEXT NOT NULL,
    model              TEXT NOT NULL,
    backend            TEXT NOT NULL,
    instance           TEXT NOT NULL,
    stream             INTEGER NOT NULL,
    reason             TEXT NOT NULL,
    tried              TEXT NOT NULL,  -- JSON: a list of words; empty: nothing
    shadow_of          TEXT,
    state              TEXT NOT NULL,
    status             INTEGER NOT NULL,
    outcome            TEXT NOT NULL,
    error              TEXT NOT NULL,
    prompt_tokens      INTEGER NOT NULL,
    cached_tokens      INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    completion_tokens  INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    estimated          INTEGER NOT NULL,
    cost_micro         INTEGER NOT NULL,
    reserved_micro     INTEGER NOT NULL,
    waited_ms          REAL NOT NULL,
    first_ms           REAL NOT NULL,
    total_ms           REAL NOT NULL,
    bytes_in           INTEGER NOT NULL,
    bytes_out          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Few, since every request writes to each: ids are in the order of coming, and serve for the rest.
CREATE INDEX call_at ON call (at);
CREATE INDEX call_job ON call (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX call_shadow ON call (shadow_of) WHERE shadow_of IS NOT NULL;
CREATE INDEX call_open ON call (id) WHERE state = 'reserved';

-- What is spent and set aside in each UTC day, kept in step with `call` by its writers. A scope is
-- a share ('chat', 'background': together all there is), 'key:ID', 'person:ID' or 'lane:NAME'.
CREATE TABLE spent (
    day       TEXT NOT NULL,
    scope     TEXT NOT NULL,
    micro     INTEGER NOT NULL,
    PRIMARY KEY (day, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE node (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    key_hash   TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL DEFAULT 0,
    draining_at INTEGER NOT NULL DEFAULT 0,
    last_seen  INTEGER NOT NULL DEFAULT 0,
    boot       TEXT NOT NULL DEFAULT '',
    labels     TEXT NOT NULL DEFAULT '[]',
    version    TEXT NOT NULL DEFAULT '',
    facts      TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;

-- The keys of programs; those taken back stay known by their names.
CREATE TABLE key (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    key_hash   TEXT NOT NULL UNIQUE,
    scope      TEXT NOT NULL CHECK (json_valid(scope)),
    created_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX key_name ON key (name) WHERE revoked_at = 0;

-- Who may talk with this stead (stead.core.people): the owner, and others.
CREATE TABLE person (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    called     TEXT NOT NULL,
    scope      TEXT NOT NULL CHECK (json_valid(scope)),
    tools      TEXT NOT NULL CHECK (json_valid(tools)),
    created_at INTEGER NOT NULL,
    removed_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX person_name ON person (name) WHERE removed_at = 0;
INSERT INTO person (id, name, called, scope, tools, created_at)
    VALUES ('owner', 'owner', 'the owner', '{}', '[]', CAST(unixepoch('subsec') * 1000 AS INTEGER));

-- Browsers that want to be told (web push). `device`: the signed-in browser; empty: none is known.
CREATE TABLE push_subscription (
    id         TEXT PRIMARY KEY,
    person     TEXT NOT NULL REFERENCES person (id),
    device     TEXT NOT NULL,
    endpoint   TEXT NOT NULL UNIQUE,
    p256dh     TEXT NOT NULL,
    auth       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    told_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Browsers that somebody is signed in with. What they show is kept as a hash alone.
CREATE TABLE device (
    id         TEXT PRIMARY KEY,
    person     TEXT NOT NULL REFERENCES person (id),
    token_hash TEXT NOT NULL,
    name       TEXT NOT NULL,
    how        TEXT NOT NULL CHECK (how IN ('code', 'recovery', 'passkey')),
    made_at    INTEGER NOT NULL,
    proved_at  INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX device_token ON device (token_hash);
CREATE INDEX device_person ON device (person, id) WHERE revoked_at = 0;

-- WebAuthn credentials.
CREATE TABLE passkey (
    id         TEXT PRIMARY KEY,
    credential TEXT NOT NULL UNIQUE,
    person     TEXT NOT NULL REFERENCES person (id),
    rp         TEXT NOT NULL,
    public_key BLOB NOT NULL,
    count      INTEGER NOT NULL,
    name       TEXT NOT NULL,
    made_at    INTEGER NOT NULL,
    used_at    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX passkey_person ON passkey (person, id);

-- Codes that sign in once: those of `stead login`, and recovery codes. Two spellings of one code
-- (typed, in a link) are two rows with one ident. Used or over, they are deleted.
CREATE TABLE sign_in_code (
    hash     TEXT PRIMARY KEY,
    ident    TEXT NOT NULL,
    person   TEXT NOT NULL REFERENCES person (id),
    recovery INTEGER NOT NULL,
    made_at  INTEGER NOT NULL,
    ends_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_code_ident ON sign_in_code (ident);
CREATE INDEX sign_in_code_person ON sign_in_code (person, recovery);

-- Lines on their way into memory/YYYY-MM-DD.md; deleted once they are on disk there.
CREATE TABLE dayline (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    at   INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT;

-- Small facts stead keeps about itself (a notice already given, a secret for job keys).
CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Each time that a rule of retention was applied, in its words.
CREATE TABLE pruning (
    id   INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    rule TEXT NOT NULL,
    jobs INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What is left of a pruned job: how it ended, and the key by which it may be asked for again.
CREATE TABLE pruned (
    job_id   TEXT PRIMARY KEY,
    pruning  INTEGER NOT NULL,
    state    TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    idem_key TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX pruned_idem ON pruned (idem_key) WHERE idem_key IS NOT NULL;

-- The sums of calls whose rows were pruned, by UTC day.
CREATE TABLE call_day (
    day                TEXT NOT NULL,
    caller             TEXT NOT NULL,
    lane               TEXT NOT NULL,
    share              TEXT NOT NULL,
    model              TEXT NOT NULL,
    backend            TEXT NOT NULL,
    calls              INTEGER NOT NULL,
    errors             INTEGER NOT NULL,
    estimated          INTEGER NOT NULL,
    prompt_tokens      INTEGER NOT NULL,
    cached_tokens      INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    completion_tokens  INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    cost_micro         INTEGER NOT NULL,
    PRIMARY KEY (day, caller, lane, share, model, backend)
) STRICT, WITHOUT ROWID;
