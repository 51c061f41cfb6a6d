-- What every shard knows about itself: who it is, which buckets it may write, and what time its ids show.
-- Advisory locks of this product have two-integer keys: class 32341 for buckets, 32342 for the clock,
-- 32343 for migrations.

CREATE SCHEMA control;

CREATE TABLE control.shard (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id text NOT NULL CHECK (id ~ '^[a-z][a-z0-9-]{0,31}$'),
    created_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE control.shard IS 'Which shard this database is; one row.';

CREATE TABLE control.migration (
    module text NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (module, number)
);

COMMENT ON TABLE control.migration IS 'The migration files that ran here, with the checksum of each.';

-- The authority for "may this shard write this bucket". fenced, by attempt, becomes either own again (given
-- up) or released (gone for good), never both; next_shard is where a refused writer should ask.
CREATE TABLE control.bucket_owner (
    bucket smallint PRIMARY KEY CHECK (bucket BETWEEN 0 AND 1023),
    epoch bigint NOT NULL CHECK (epoch > 0),
    state text NOT NULL CHECK (state IN ('own', 'fenced', 'released', 'incoming', 'gone')),
    attempt text,
    next_shard text,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK (state NOT IN ('fenced', 'released') OR (attempt IS NOT NULL AND next_shard IS NOT NULL))
) WITH (fillfactor = 50);

-- Refuses (SQLSTATE TF001) unless this shard owns every bucket at the given epoch, and keeps it so until the
-- transaction ends. The detail reads 'bucket=B state=S epoch=E next=SHARD'; a part that is unknown is '-'.
--
-- Three things make it right. The shared lock is taken before the owner rows are read, by a statement of its
-- own: under READ COMMITTED the second statement has a new snapshot, which shows what the holder of the
-- exclusive lock committed while this one waited. The function is VOLATILE: a STABLE one would read with
-- the snapshot of its caller. And any other isolation level is refused, since its snapshot may be older than
-- the lock. Buckets are locked in order, so that two batches cannot wait for each other.
CREATE FUNCTION control.fence(buckets smallint[], epochs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
    asked smallint;
    refused record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a fenced transaction must be READ COMMITTED'
            USING ERRCODE = 'TF002';
    END IF;
    IF cardinality(buckets) <> cardinality(epochs) OR cardinality(buckets) = 0 THEN
        RAISE EXCEPTION 'fence wants one epoch for each bucket, and at least one bucket'
            USING ERRCODE = 'TF002';
    END IF;

    IF cardinality(buckets) = 1 THEN
        PERFORM pg_catalog.pg_advisory_xact_lock_shared(32341, buckets[1]);
    ELSE
        FOR asked IN SELECT DISTINCT u.b FROM unnest(buckets) AS u(b) ORDER BY u.b LOOP
            PERFORM pg_catalog.pg_advisory_xact_lock_shared(32341, asked);
        END LOOP;
    END IF;

    SELECT u.bucket, o.state, o.epoch, o.next_shard
    INTO refused
    FROM unnest(buckets, epochs) AS u(bucket, epoch)
    LEFT JOIN control.bucket_owner AS o ON o.bucket = u.bucket
    WHERE o.state IS DISTINCT FROM 'own' OR o.epoch IS DISTINCT FROM u.epoch
    ORDER BY u.bucket
    LIMIT 1;

    IF FOUND THEN
        RAISE EXCEPTION 'bucket % is not this shard''s to write at that epoch', refused.bucket
            USING ERRCODE = 'TF001',
                DETAIL = format(
                    'bucket=%s state=%s epoch=%s next=%s',
                    refused.bucket,
                    coalesce(refused.state, '-'),
                    coalesce(refused.epoch::text, '-'),
                    coalesce(
                        CASE
                            WHEN refused.state = 'own' THEN (SELECT s.id FROM control.shard AS s)
                            ELSE refused.next_shard
                        END,
                        '-'
                    )
                );
    END IF;
END
$$;

-- The hybrid clock of this shard: its value is milliseconds * 64 + n.
CREATE SEQUENCE control.clock AS bigint MINVALUE 0 START 0 CACHE 1;

-- Takes n readings in a row and returns the first. The clock is raised to the wall clock and never lowered.
--
-- A sequence is not transactional, so what was taken stays taken whatever becomes of the transaction. The
-- lock is taken in a subtransaction which always rolls back: it is held for microseconds and not until the
-- caller commits, and a cancelled or failed caller cannot leave it behind.
CREATE FUNCTION control.take_readings(n integer, wall_milliseconds bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
    taken bigint;
BEGIN
    IF n NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'between 1 and 10000 ids at a time, not %', n
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    BEGIN
        PERFORM pg_catalog.pg_advisory_xact_lock(32342, 0);
        SELECT greatest(c.last_value + 1, wall_milliseconds * 64) INTO taken FROM control.clock AS c;
        PERFORM pg_catalog.setval('control.clock', taken + n - 1);
        RAISE SQLSTATE 'TF003';
    EXCEPTION WHEN SQLSTATE 'TF003' THEN
        NULL;
    END;
    RETURN taken;
END
$$;

-- What a shard does with the other's clock before it makes ids for a bucket that it was given.
CREATE FUNCTION control.raise_clock(other bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(32342, 0);
    PERFORM pg_catalog.setval('control.clock', greatest(c.last_value, other)) FROM control.clock AS c;
END
$$;

-- One new id in the bucket: milliseconds << 16 | bucket << 6 | n.
CREATE FUNCTION control.next_id(bucket smallint) RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reading bigint := control.take_readings(
        1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
    );
BEGIN
    RETURN (reading >> 6 << 16) | (bucket::bigint << 6) | (reading & 63);
END
$$;

-- n new ids in the bucket, ascending.
CREATE FUNCTION control.next_ids(bucket smallint, n integer) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first bigint := control.take_readings(
        n, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
    );
BEGIN
    RETURN QUERY
    SELECT (r >> 6 << 16) | (bucket::bigint << 6) | (r & 63)
    FROM generate_series(first, first + n - 1) AS r
    ORDER BY r;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT USAGE ON SCHEMA control TO app, worker;
GRANT SELECT ON control.shard, control.migration, control.bucket_owner TO app, worker;
GRANT EXECUTE ON FUNCTION
    control.fence(smallint[], bigint[]),
    control.next_id(smallint),
    control.next_ids(smallint, integer)
TO app, worker;
