-- Counts that many writers raise at once: each write appends a row, a worker folds the rows into totals.
-- The truth at any moment is the total plus what has not been folded yet, so a count is always exact.

CREATE SCHEMA counters;

CREATE TABLE counters.total (
    bucket smallint NOT NULL,
    subject bigint NOT NULL,
    kind smallint NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (bucket, subject, kind)
);

-- The id is random: rows move between shards with their bucket, and two sequences could meet.
CREATE TABLE counters.delta (
    bucket smallint NOT NULL,
    subject bigint NOT NULL,
    kind smallint NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    amount integer NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (bucket, subject, kind, id)
);

CREATE VIEW counters.current AS
SELECT bucket, subject, kind, sum(amount)::bigint AS value
FROM (
    SELECT bucket, subject, kind, amount FROM counters.total
    UNION ALL
    SELECT bucket, subject, kind, amount::bigint FROM counters.delta
) AS part
GROUP BY bucket, subject, kind;

GRANT USAGE ON SCHEMA counters TO app, worker;
GRANT SELECT ON counters.total, counters.delta, counters.current TO app, worker;
GRANT INSERT ON counters.delta TO app, worker;
GRANT UPDATE, DELETE ON counters.delta TO worker;
GRANT INSERT, UPDATE, DELETE ON counters.total TO worker;
