-- What must not be seen any more, and what is out of date, on pages that lie rendered in a cache. A row is written in
-- the transaction of its cause, by triggers of the tables that the cause is in, so that no writer can forget it; every
-- app node asks for new rows each second and drops the pages that they name.
--
-- It has no bucket and stays outside of moves: a row says what happened on this shard, and every node asks every shard.
-- A row that all nodes have read, or are too late for, is of no use; workers delete it after some minutes.
CREATE TABLE control.withdrawn (
    -- The order of commits is not that of ids. A reader remembers the oldest transaction that was under way when it
    -- looked (pg_snapshot_xmin) and asks for that one and all after it the next time: it may see a row twice, never not.
    xact bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    id bigint GENERATED ALWAYS AS IDENTITY,
    -- 1 a post, 2 an author, 3 an author for one viewer, 4 two users for each other, 5 takes a 4 back,
    -- 6 a post that has changed, 7 an author who is merged on reading has published
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 7),
    subject bigint NOT NULL,
    other bigint NOT NULL DEFAULT 0,
    logged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (xact, id),
    CHECK ((other <> 0) = (kind IN (3, 4, 5)))
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000
);

COMMENT ON TABLE control.withdrawn IS 'What nodes drop from rendered pages; read by all of them each second.';

-- Called by triggers, as whoever made the change.
CREATE FUNCTION control.withdraw(kind smallint, subject bigint, other bigint DEFAULT 0) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO control.withdrawn (kind, subject, other) VALUES (kind, subject, other)
$$;

REVOKE ALL ON FUNCTION control.withdraw(smallint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.withdraw(smallint, bigint, bigint) TO app, worker;
GRANT SELECT, INSERT ON control.withdrawn TO app, worker;
GRANT DELETE ON control.withdrawn TO worker;
