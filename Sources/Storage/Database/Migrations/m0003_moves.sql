-- What a shard does for a bucket that moves: the owner rows' way from state to state, the guard behind the
-- fence, and what a mover notes. Two SQLSTATEs more: TF004, the owner rows are not as this step expects
-- (somebody else was first); TF005, the source's last writes have not all arrived.

-- A source writes one row for each bucket in the transaction that fences it. The table is published with
-- the others: where the row shows, everything that the source accepted before has arrived, since changes
-- are applied in the order of their commits. Rows named 'probe' measure the lag in the same way.
CREATE TABLE control.move_marker (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    -- 'm12.1': move 12, first attempt to fence.
    attempt text NOT NULL,
    -- Of the bucket on the source when it was fenced.
    epoch bigint NOT NULL,
    -- The source's clock then: no id in the bucket is above it.
    clock bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, attempt)
);

-- A mover's notes about a move, in the database that they are about: which tables were copied with which
-- digest, how far a verification is, where in the log the bucket began to be written here.
CREATE TABLE control.move_note (
    move text NOT NULL,
    entry text NOT NULL,
    value jsonb NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (move, entry)
);

-- Buckets whose rows a stream is writing here, and the keys that it has written and nobody compared yet.
CREATE TABLE control.move_watch (
    bucket smallint PRIMARY KEY,
    move text NOT NULL
);

CREATE TABLE control.applied_key (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    move text NOT NULL,
    relation text NOT NULL,
    key jsonb NOT NULL
);

-- The tables that belong to buckets, which are those that a move takes along.
CREATE FUNCTION control.bucket_tables() RETURNS TABLE (
    relation oid,
    name text,
    key_columns text[],
    columns text[],
    is_logged boolean,
    owner oid
)
LANGUAGE sql STABLE
AS $$
    SELECT c.oid,
        format('%I.%I', n.nspname, c.relname),
        coalesce(
            (
                SELECT array_agg(a.attname::text ORDER BY k.place)
                FROM pg_catalog.pg_index AS i
                CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(number, place)
                JOIN pg_catalog.pg_attribute AS a
                    ON a.attrelid = i.indrelid AND a.attnum = k.number
                WHERE i.indrelid = c.oid AND i.indisprimary
            ),
            '{}'
        ),
        (
            SELECT array_agg(a.attname::text ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        ),
        c.relpersistence = 'p',
        c.relowner
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND n.nspname <> ALL ('{control,information_schema}') AND n.nspname NOT LIKE 'pg\_%'
        AND EXISTS (
            SELECT
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attname = 'bucket' AND NOT a.attisdropped
        )
    ORDER BY 2
$$;

-- Equal on two shards when a row of either fits into the other.
CREATE FUNCTION control.schema_digest() RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT md5(coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), ''))
    FROM (
        SELECT format(
            '%s %s %s %s', t.name, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
        )
        FROM control.bucket_tables() AS t
        JOIN pg_catalog.pg_attribute AS a
            ON a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT format('%s key %s', t.name, t.key_columns) FROM control.bucket_tables() AS t
        UNION ALL
        SELECT format('%s/%s %s', m.module, m.number, m.checksum) FROM control.migration AS m
    ) AS described(line)
$$;

-- MARK: The way of a group of buckets on its source

-- own → fenced, with the markers, in one transaction: the caller's, which holds nothing else. Waits at most
-- `patience` milliseconds in all for the writers under way. A repetition changes nothing.
CREATE FUNCTION control.fence_for_move(
    asked_attempt text,
    asked_buckets smallint[],
    asked_epochs bigint[],
    next text,
    patience integer
) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + patience * interval '1 millisecond';
    asked smallint;
    changed integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a fencing transaction must be READ COMMITTED' USING ERRCODE = 'TF002';
    END IF;
    SELECT count(*) INTO changed
    FROM control.bucket_owner AS o
    WHERE o.bucket = ANY (asked_buckets) AND o.state = 'fenced' AND o.attempt = asked_attempt;
    IF changed = cardinality(asked_buckets) THEN
        RETURN;
    END IF;

    FOR asked IN SELECT DISTINCT u.b FROM unnest(asked_buckets) AS u(b) ORDER BY u.b LOOP
        PERFORM set_config(
            'lock_timeout',
            greatest(
                floor(extract(epoch FROM deadline - clock_timestamp()) * 1000)::integer, 1
            )::text,
            true
        );
        PERFORM pg_catalog.pg_advisory_xact_lock(32341, asked);
    END LOOP;

    UPDATE control.bucket_owner AS o
    SET state = 'fenced', attempt = asked_attempt, next_shard = next, changed_at = now()
    FROM unnest(asked_buckets, asked_epochs) AS u(bucket, epoch)
    WHERE o.bucket = u.bucket AND o.epoch = u.epoch AND o.state = 'own';
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> cardinality(asked_buckets) THEN
        RAISE EXCEPTION 'this shard does not own all of the buckets at those epochs'
            USING ERRCODE = 'TF004';
    END IF;

    INSERT INTO control.move_marker (bucket, attempt, epoch, clock)
    SELECT o.bucket, asked_attempt, o.epoch, c.last_value
    FROM control.bucket_owner AS o
    CROSS JOIN control.clock AS c
    WHERE o.bucket = ANY (asked_buckets);
END
$$;

-- fenced → own at an epoch that no writer and no target has assumed yet. A bucket that was not fenced rises,
-- too, so that a fence which is still on its way finds nothing. Gives the epochs that hold now, in the order
-- asked; null when it is too late, since the attempt was released.
CREATE FUNCTION control.give_up(
    asked_attempt text,
    asked_buckets smallint[],
    asked_epochs bigint[]
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now_held bigint[];
BEGIN
    PERFORM FROM control.bucket_owner AS o
    WHERE o.bucket = ANY (asked_buckets)
    ORDER BY o.bucket
    FOR UPDATE;
    PERFORM FROM control.bucket_owner AS o
    WHERE o.bucket = ANY (asked_buckets) AND o.state IN ('released', 'gone')
        AND o.attempt = asked_attempt;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE control.bucket_owner AS o
    SET state = 'own', epoch = o.epoch + 2, next_shard = NULL, changed_at = now()
    FROM unnest(asked_buckets, asked_epochs) AS u(bucket, epoch)
    WHERE o.bucket = u.bucket AND o.epoch = u.epoch
        AND (o.state = 'own' OR o.state = 'fenced' AND o.attempt = asked_attempt);
    SELECT array_agg(o.epoch ORDER BY u.place) INTO now_held
    FROM unnest(asked_buckets) WITH ORDINALITY AS u(bucket, place)
    JOIN control.bucket_owner AS o ON o.bucket = u.bucket
    WHERE o.state = 'own';
    IF cardinality(now_held) IS DISTINCT FROM cardinality(asked_buckets) THEN
        RAISE EXCEPTION 'attempt % holds some of the buckets no more', asked_attempt
            USING ERRCODE = 'TF004';
    END IF;
    RETURN now_held;
END
$$;

-- fenced → released: the commit point of a move. From here it only goes forward. TF004 when given up.
CREATE FUNCTION control.release(asked_attempt text, asked_buckets smallint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
    ready integer;
BEGIN
    PERFORM FROM control.bucket_owner AS o
    WHERE o.bucket = ANY (asked_buckets)
    ORDER BY o.bucket
    FOR UPDATE;
    SELECT count(*) INTO ready
    FROM control.bucket_owner AS o
    WHERE o.bucket = ANY (asked_buckets) AND o.state IN ('fenced', 'released', 'gone')
        AND o.attempt = asked_attempt;
    IF ready <> cardinality(asked_buckets) THEN
        RAISE EXCEPTION 'attempt % does not hold all of its buckets', asked_attempt
            USING ERRCODE = 'TF004';
    END IF;
    UPDATE control.bucket_owner
    SET state = 'released', changed_at = now()
    WHERE bucket = ANY (asked_buckets) AND state = 'fenced' AND attempt = asked_attempt;
END
$$;

-- released → gone, once the target writes; rows that went on already are left alone.
CREATE FUNCTION control.mark_gone(asked_attempt text, asked_buckets smallint[]) RETURNS void
LANGUAGE sql VOLATILE STRICT
AS $$
    UPDATE control.bucket_owner
    SET state = 'gone', changed_at = now()
    WHERE bucket = ANY (asked_buckets) AND state = 'released' AND attempt = asked_attempt
$$;

-- MARK: The way of a group of buckets on its target

-- none or gone → incoming, at the epoch at which they will be owned; again with a higher one after a give-up.
CREATE FUNCTION control.mark_incoming(
    asked_move text,
    asked_buckets smallint[],
    epochs bigint[],
    owner_now text
) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
    changed integer;
BEGIN
    INSERT INTO control.bucket_owner AS o (bucket, epoch, state, attempt, next_shard)
    SELECT u.bucket, u.epoch, 'incoming', asked_move, owner_now
    FROM unnest(asked_buckets, epochs) AS u(bucket, epoch)
    ORDER BY u.bucket
    ON CONFLICT (bucket) DO UPDATE
    SET epoch = excluded.epoch, state = 'incoming', attempt = excluded.attempt,
        next_shard = excluded.next_shard, changed_at = now()
    WHERE o.state = 'gone' AND o.epoch < excluded.epoch
        OR o.state = 'incoming' AND o.attempt = excluded.attempt AND o.epoch <= excluded.epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> cardinality(asked_buckets) THEN
        RAISE EXCEPTION 'this shard owns some of the buckets, or another move brings them'
            USING ERRCODE = 'TF004';
    END IF;
END
$$;

-- incoming → gone: the move was undone. It leaves the source's epoch, one below what was expected: the next move
-- brings a higher one, and a late mover of this move does not.
CREATE FUNCTION control.unmark_incoming(asked_move text, asked_buckets smallint[]) RETURNS void
LANGUAGE sql VOLATILE STRICT
AS $$
    UPDATE control.bucket_owner
    SET state = 'gone', epoch = epoch - 1, changed_at = now()
    WHERE bucket = ANY (asked_buckets) AND state = 'incoming' AND attempt = asked_move
$$;

-- incoming → own, for who has seen the attempt released on the source, which nobody can take back. The
-- markers must be here, which says that all rows are. Notes where in the log the bucket's own writes begin:
-- a reverse stream starts there.
CREATE FUNCTION control.activate(asked_attempt text, asked_buckets smallint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    marked record;
    changed integer;
BEGIN
    PERFORM FROM control.bucket_owner AS o
    WHERE o.bucket = ANY (asked_buckets)
    ORDER BY o.bucket
    FOR UPDATE;
    SELECT count(*) AS markers, max(m.clock) AS clock,
        count(*) FILTER (WHERE o.state = 'own' AND o.epoch = m.epoch + 1) AS own
    INTO marked
    FROM control.move_marker AS m
    LEFT JOIN control.bucket_owner AS o ON o.bucket = m.bucket
    WHERE m.attempt = asked_attempt AND m.bucket = ANY (asked_buckets);
    IF marked.markers <> cardinality(asked_buckets) THEN
        RAISE EXCEPTION 'the markers of attempt % have not arrived', asked_attempt
            USING ERRCODE = 'TF005';
    END IF;
    IF marked.own = marked.markers THEN
        RETURN;
    END IF;

    UPDATE control.bucket_owner AS o
    SET state = 'own', epoch = m.epoch + 1, attempt = asked_attempt, next_shard = NULL,
        changed_at = now()
    FROM control.move_marker AS m
    WHERE o.bucket = ANY (asked_buckets) AND o.state = 'incoming' AND o.epoch <= m.epoch + 1
        AND o.attempt = split_part(asked_attempt, '.', 1)
        AND m.bucket = o.bucket AND m.attempt = asked_attempt;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> cardinality(asked_buckets) THEN
        RAISE EXCEPTION 'some buckets of attempt % are not on their way here', asked_attempt
            USING ERRCODE = 'TF004';
    END IF;
    INSERT INTO control.move_note (move, entry, value)
    VALUES (
        split_part(asked_attempt, '.', 1), 'activated at',
        jsonb_build_object('attempt', asked_attempt, 'lsn', pg_current_wal_insert_lsn())
    )
    ON CONFLICT (move, entry) DO UPDATE SET value = excluded.value, written_at = now();
    PERFORM control.raise_clock(marked.clock);
END
$$;

-- MARK: Triggers

-- Behind every write, in case that it forgot the fence: refuses rows of buckets that this shard does not
-- own (TF001, worded as by the fence) and keeps the others' owner rows as they are until the transaction
-- ends. One lock and one look for each bucket of a statement, whatever its rows. A row never changes its
-- bucket, so the new rows of an UPDATE are enough. Replication writes past it: its triggers are not fired
-- for rows that arrive.
CREATE FUNCTION control.guard() RETURNS trigger
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    least smallint;
    most smallint;
    refused record;
BEGIN
    SELECT min(t.bucket), max(t.bucket) INTO least, most FROM touched AS t;
    IF least IS NULL THEN
        RETURN NULL;
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a transaction that writes must be READ COMMITTED' USING ERRCODE = 'TF002';
    END IF;
    IF least = most THEN
        PERFORM pg_catalog.pg_advisory_xact_lock_shared(32341, least);
        PERFORM FROM control.bucket_owner AS o WHERE o.bucket = least AND o.state = 'own';
        IF FOUND THEN
            RETURN NULL;
        END IF;
        SELECT least AS bucket INTO refused;
    ELSE
        PERFORM pg_catalog.pg_advisory_xact_lock_shared(32341, sorted.bucket)
        FROM (SELECT t.bucket FROM touched AS t GROUP BY t.bucket ORDER BY t.bucket) AS sorted;
        SELECT t.bucket INTO refused
        FROM (SELECT DISTINCT t.bucket FROM touched AS t) AS t
        LEFT JOIN control.bucket_owner AS o ON o.bucket = t.bucket
        WHERE o.state IS DISTINCT FROM 'own'
        ORDER BY t.bucket
        LIMIT 1;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;

    RAISE EXCEPTION 'bucket % is not this shard''s to write', refused.bucket
        USING ERRCODE = 'TF001',
            DETAIL = coalesce(
                (
                    SELECT format(
                        'bucket=%s state=%s epoch=%s next=%s',
                        o.bucket, o.state, o.epoch, coalesce(o.next_shard, '-')
                    )
                    FROM control.bucket_owner AS o
                    WHERE o.bucket = refused.bucket
                ),
                format('bucket=%s state=- epoch=- next=-', refused.bucket)
            );
END
$$;

-- For each row that a stream writes: which key it was. Its arguments are the columns of the table's key.
CREATE FUNCTION control.log_applied() RETURNS trigger
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    watching text;
    old_row jsonb;
    new_row jsonb;
BEGIN
    SELECT w.move INTO watching
    FROM control.move_watch AS w
    WHERE w.bucket = CASE TG_OP WHEN 'DELETE' THEN OLD.bucket ELSE NEW.bucket END;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        old_row := to_jsonb(OLD);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        new_row := to_jsonb(NEW);
    END IF;
    INSERT INTO control.applied_key (move, relation, key)
    SELECT DISTINCT watching, format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME), k.key
    FROM (
        SELECT jsonb_object_agg(c.name, whole.written -> c.name) AS key
        FROM (VALUES (old_row), (new_row)) AS whole(written)
        CROSS JOIN unnest(TG_ARGV) AS c(name)
        WHERE whole.written IS NOT NULL
        GROUP BY whole.written
    ) AS k;
    RETURN NULL;
END
$$;

-- Puts both triggers on every table that belongs to buckets and lacks them; the migrator calls it after the
-- migrations. A trigger fires on one kind of change, since it looks at the changed rows as a table.
CREATE FUNCTION control.guard_tables() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    guarded record;
    change record;
BEGIN
    FOR guarded IN
        SELECT t.relation, t.name, t.key_columns
        FROM control.bucket_tables() AS t
        WHERE pg_catalog.pg_has_role(t.owner, 'USAGE')
    LOOP
        FOR change IN
            SELECT c.verb, c.rows
            FROM (VALUES ('INSERT', 'NEW'), ('UPDATE', 'NEW'), ('DELETE', 'OLD')) AS c(verb, rows)
            WHERE NOT EXISTS (
                SELECT
                FROM pg_catalog.pg_trigger AS t
                WHERE t.tgrelid = guarded.relation AND t.tgname = 'bucket_guard_' || lower(c.verb)
            )
        LOOP
            EXECUTE format(
                'CREATE TRIGGER bucket_guard_%s AFTER %s ON %s REFERENCING %s TABLE AS touched '
                    'FOR EACH STATEMENT EXECUTE FUNCTION control.guard()',
                lower(change.verb), change.verb, guarded.name, change.rows
            );
        END LOOP;
        -- What a copy writes is compared as a whole: it says so, and is not logged row by row.
        IF cardinality(guarded.key_columns) > 0 AND NOT EXISTS (
            SELECT
            FROM pg_catalog.pg_trigger AS t
            WHERE t.tgrelid = guarded.relation AND t.tgname = 'bucket_applied'
        ) THEN
            EXECUTE format(
                'CREATE TRIGGER bucket_applied AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
                    'WHEN (current_setting(''tessera.copying'', true) IS DISTINCT FROM ''on'') '
                    'EXECUTE FUNCTION control.log_applied(%s)',
                guarded.name,
                (SELECT string_agg(quote_literal(c), ', ') FROM unnest(guarded.key_columns) AS k(c))
            );
            EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER bucket_applied', guarded.name);
        END IF;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION
    control.bucket_tables(),
    control.schema_digest(),
    control.fence_for_move(text, smallint[], bigint[], text, integer),
    control.give_up(text, smallint[], bigint[]),
    control.release(text, smallint[]),
    control.mark_gone(text, smallint[]),
    control.mark_incoming(text, smallint[], bigint[], text),
    control.unmark_incoming(text, smallint[]),
    control.activate(text, smallint[]),
    control.guard(),
    control.log_applied(),
    control.guard_tables()
FROM PUBLIC;
-- Without a coordinator a worker ends what is between two owners: it gives a fenced bucket back, and
-- activates a released one.
GRANT EXECUTE ON FUNCTION
    control.give_up(text, smallint[], bigint[]),
    control.activate(text, smallint[])
TO worker;
GRANT SELECT ON control.move_marker TO worker;
