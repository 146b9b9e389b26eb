-- The books of a Tollgate server.
--
-- Moments are milliseconds since the epoch in columns that end in `_ms`; where a moment is for reading, a column
-- beside it shows the same in ISO 8601 and UTC. Money is whole nano-units (10^-9) of a currency in columns that end
-- in `_nano`; the views of `views.sql` show it as a decimal. Numbers beyond SQLite's integers are kept as the largest
-- of these.
--
-- Read as you like, also while the server runs. Change keys and scopes with `tollgate keys`; a server that runs has
-- its counters in memory and does not see a change made here.

PRAGMA application_id = 1953459308; -- 'toll'
PRAGMA user_version = 2;

-- One row for each exchange whose claims were granted, in the order of time.
CREATE TABLE charges (
    at TEXT AS (strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch')), -- when its claims were made
    at_ms INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    key TEXT NOT NULL, -- the caller: organisation/team/key, organisation/key or key
    organisation TEXT AS (iif(instr(key, '/'), substr(key, 1, instr(key, '/') - 1), NULL)),
    team TEXT AS (iif(key LIKE '%/%/%',
        substr(key, instr(key, '/') + 1, instr(substr(key, instr(key, '/') + 1), '/') - 1), NULL)),
    model TEXT NOT NULL, -- as the client asked for it
    upstream TEXT, -- tried last; none: nothing was sent
    upstream_model TEXT,
    input_tokens INTEGER NOT NULL, -- cached ones included
    cached_input_tokens INTEGER NOT NULL, -- of the input, from the provider's cache
    cache_write_tokens INTEGER NOT NULL, -- of the input, written to the provider's cache
    output_tokens INTEGER NOT NULL, -- reasoning included
    reasoning_tokens INTEGER NOT NULL,
    estimated INTEGER NOT NULL, -- 1: the counts are an estimate
    charge_nano INTEGER NOT NULL,
    currency TEXT NOT NULL, -- ISO 4217; XXX where all is free
    input_price INTEGER NOT NULL, -- prices used, in millionths of the currency for a million tokens
    cached_input_price INTEGER NOT NULL,
    cache_write_price INTEGER NOT NULL,
    output_price INTEGER NOT NULL,
    reasoning_price INTEGER NOT NULL,
    price_since TEXT AS (strftime('%Y-%m-%d', price_since_ms / 1000.0, 'unixepoch')), -- from when on it counts
    price_since_ms INTEGER,
    price_source TEXT, -- where it comes from, with the rate of exchange if it was converted
    status INTEGER NOT NULL, -- HTTP; 0: no answer
    outcome TEXT NOT NULL, -- undispatched, completed, client_left, upstream_broke, policy_failed or lost
    duration_ms INTEGER NOT NULL,
    first_byte_ms INTEGER, -- of a streamed answer
    PRIMARY KEY (at_ms, request_id)
) STRICT, WITHOUT ROWID;

-- settle once: an exchange has one row.
CREATE UNIQUE INDEX charges_by_request ON charges (request_id);
CREATE INDEX charges_by_key ON charges (key, at_ms, request_id);

-- What limits count: one row for each cell. Limits themselves are in the configuration and with the keys.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL, -- window, budget or slots
    used INTEGER NOT NULL, -- units settled and held when it last changed
    ends_at_ms INTEGER NOT NULL, -- from then on it counts nothing; the row goes a day later
    state TEXT NOT NULL -- all of it, as a line of tollgate_ledger
) STRICT, WITHOUT ROWID;

-- The latest end of a budget whose counter is gone. None that ended by then begins anew, though clocks go back.
CREATE TABLE horizon (ended_ms INTEGER NOT NULL) STRICT;
INSERT INTO horizon VALUES (0);

-- Exchanges that are not settled yet. Each is charged as its entry says if its lease passes.
CREATE TABLE holds (
    number INTEGER PRIMARY KEY, -- in the order they were opened
    request_id TEXT NOT NULL,
    until_ms INTEGER NOT NULL, -- the end of its lease
    lease_ms INTEGER NOT NULL,
    parts TEXT NOT NULL, -- JSON: [[counter, units, marked at ms, moves, ..], ..]; three numbers each time it took
    entry TEXT NOT NULL -- JSON: the row of charges it becomes if nobody settles it
) STRICT;

-- Who may call. A list is JSON; limits are as the operator wrote them.
CREATE TABLE keys (
    name TEXT PRIMARY KEY, -- organisation/team/key, organisation/key or key
    models TEXT, -- JSON; none: every model
    requests TEXT, -- such as 100/1m
    tokens TEXT,
    concurrent INTEGER,
    budgets TEXT NOT NULL, -- JSON, such as ["10 USD/month"]
    priority TEXT NOT NULL, -- urgent, normal or batch
    tags TEXT NOT NULL DEFAULT '[]', -- JSON: words that routes can ask for
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER,
    version INTEGER NOT NULL -- counts its changes
) STRICT, WITHOUT ROWID;

-- The secrets of keys, as SHA-256 digests in lower-case hexadecimal.
CREATE TABLE key_secrets (
    digest TEXT PRIMARY KEY,
    key TEXT NOT NULL REFERENCES keys (name),
    place INTEGER NOT NULL, -- 0 is the newest
    created_ms INTEGER NOT NULL,
    ends_ms INTEGER -- from then on another has taken its place
) STRICT, WITHOUT ROWID;

CREATE INDEX key_secrets_by_key ON key_secrets (key, place);

-- The limits that all keys below an organisation, or a team in it, share.
CREATE TABLE scopes (
    name TEXT PRIMARY KEY,
    requests TEXT,
    tokens TEXT,
    concurrent INTEGER,
    budgets TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
