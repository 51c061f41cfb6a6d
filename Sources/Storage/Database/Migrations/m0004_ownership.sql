-- How a reader learns that a bucket has moved. control.ownership counts the changes after which reads of some
-- bucket must go elsewhere, or may come here. A batch of reads ends with a look at it: as long as the count is
-- the one that a node's copy of the owner rows was read with, everything read before the look was read from the
-- owner. (Looking first would leave a gap in which the bucket is released and written to elsewhere.)
CREATE TABLE control.ownership (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 50);

INSERT INTO control.ownership DEFAULT VALUES;

COMMENT ON TABLE control.ownership IS 'Counts the changes of which buckets may be read here; one row.';

-- A change counts when it begins or ends reading here (own and fenced are readable), and when it changes what
-- the bucket is read with or where else it is. Fencing does not: reads go on.
--
-- It runs as its owner, since whoever may change an owner row must count it, and once a statement, so that a
-- move of sixteen buckets takes the row's lock once.
CREATE FUNCTION control.count_inserted_owners() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows WHERE state IN ('own', 'fenced')) THEN
        UPDATE control.ownership SET version = version + 1;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION control.count_changed_owners() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM old_rows AS b
        FULL JOIN new_rows AS a USING (bucket)
        WHERE (coalesce(b.state, '') IN ('own', 'fenced'))
                <> (coalesce(a.state, '') IN ('own', 'fenced'))
            OR (
                a.state IN ('own', 'released', 'gone')
                AND (a.epoch, a.next_shard) IS DISTINCT FROM (b.epoch, b.next_shard)
            )
    ) THEN
        UPDATE control.ownership SET version = version + 1;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION control.count_deleted_owners() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE control.ownership SET version = version + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER count_inserted AFTER INSERT ON control.bucket_owner
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION control.count_inserted_owners();

CREATE TRIGGER count_changed AFTER UPDATE ON control.bucket_owner
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION control.count_changed_owners();

CREATE TRIGGER count_deleted AFTER DELETE ON control.bucket_owner
FOR EACH STATEMENT EXECUTE FUNCTION control.count_deleted_owners();

CREATE TRIGGER count_emptied AFTER TRUNCATE ON control.bucket_owner
FOR EACH STATEMENT EXECUTE FUNCTION control.count_deleted_owners();

-- Also in a session that writes as a replica does.
ALTER TABLE control.bucket_owner ENABLE ALWAYS TRIGGER count_inserted;
ALTER TABLE control.bucket_owner ENABLE ALWAYS TRIGGER count_changed;
ALTER TABLE control.bucket_owner ENABLE ALWAYS TRIGGER count_deleted;
ALTER TABLE control.bucket_owner ENABLE ALWAYS TRIGGER count_emptied;

-- Where other shards are: the lines of the map that describe them. next_shard names a shard, and a node whose map is
-- older than that shard finds its address here while etcd is down. Whoever moves buckets away from a shard writes
-- the record of the next owner first.
CREATE TABLE control.shard_record (
    id text PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9-]{0,31}$'),
    record text NOT NULL CHECK (length(record) <= 4096),
    changed_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE control.shard_record IS 'Addresses of shards, for nodes that have an old map and no etcd.';

CREATE FUNCTION control.put_shard_record(shard text, line text) RETURNS void
LANGUAGE sql VOLATILE STRICT
AS $$
    INSERT INTO control.shard_record AS r (id, record) VALUES (shard, line)
    ON CONFLICT (id) DO UPDATE SET record = excluded.record, changed_at = now()
    WHERE r.record <> excluded.record
$$;

REVOKE ALL ON FUNCTION
    control.count_inserted_owners(),
    control.count_changed_owners(),
    control.count_deleted_owners(),
    control.put_shard_record(text, text)
FROM PUBLIC;
GRANT SELECT ON control.ownership, control.shard_record TO app, worker;

-- A worker that ends a move which nobody ends passes the source's clock to the target.
GRANT SELECT ON SEQUENCE control.clock TO worker;
