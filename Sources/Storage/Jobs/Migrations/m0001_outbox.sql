CREATE SCHEMA jobs;

-- What a committed write still has to cause elsewhere. A row is written in the transaction of its cause
-- and deleted by the transaction that completes it: it may run twice, but never zero times.
CREATE TABLE jobs.outbox (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    id bigint NOT NULL,
    kind text NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
    version smallint NOT NULL DEFAULT 1,
    payload jsonb NOT NULL,
    traceparent text,
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- A claim moves it to the end of the lease: a row whose worker died is due again by itself.
    available_at timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz,
    lease_token bigint,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, id)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 5000
);

-- The only index that does not begin with the bucket: a worker asks for what is due in any bucket, and a
-- search in each of them would cost a quiet shard 1,024 probes instead of one.
CREATE INDEX outbox_due ON jobs.outbox (available_at, bucket, id);

-- Effects that were given up. Nothing is dropped: an operator reads them here and puts them back.
CREATE TABLE jobs.dead (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    id bigint NOT NULL,
    kind text NOT NULL,
    version smallint NOT NULL,
    payload jsonb NOT NULL,
    traceparent text,
    attempts integer NOT NULL,
    created_at timestamptz NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL,
    PRIMARY KEY (bucket, id)
);

GRANT USAGE ON SCHEMA jobs TO app, worker;
GRANT SELECT, INSERT ON jobs.outbox TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.outbox, jobs.dead TO worker;
