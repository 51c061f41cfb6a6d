-- The fence again, for the same promise in a fraction of the time (20 against 180 µs for one bucket, 0.7 against
-- 1.8 ms for 256). Nearly every write names one bucket: its owner row is read by its key, with a plan that is
-- made once; joining arrays is planned anew at each call. What the function promises, and why it is written
-- in this order, stands in m0001_control.sql.
CREATE OR REPLACE FUNCTION control.fence(buckets smallint[], epochs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
    asked smallint;
    owner_state text;
    owner_epoch bigint;
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
        asked := buckets[1];
        PERFORM pg_catalog.pg_advisory_xact_lock_shared(32341, asked);
        SELECT o.state, o.epoch INTO owner_state, owner_epoch
        FROM control.bucket_owner AS o
        WHERE o.bucket = asked;
        IF owner_state = 'own' AND owner_epoch = epochs[1] THEN
            RETURN;
        END IF;
    ELSE
        -- One statement instead of a loop; it calls the function on the sorted rows, one after the other.
        PERFORM pg_catalog.pg_advisory_xact_lock_shared(32341, sorted.bucket)
        FROM (SELECT DISTINCT u.b AS bucket FROM unnest(buckets) AS u(b) ORDER BY u.b) AS sorted;
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
