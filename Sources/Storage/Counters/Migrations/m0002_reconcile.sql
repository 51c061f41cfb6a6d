-- Recounting: what each count should be is known, since what is counted are rows beside the counter, in the same
-- bucket. The row and the change of its count are written by one transaction, so whatever snapshot sees one sees
-- the other: in any snapshot, the truth less the total and its changes is how far a count is off.

-- Which view knows the truth of a kind. Services enter theirs in their migrations.
CREATE TABLE counters.truth (
    kind smallint PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z_]+$'),
    -- With the columns bucket, subject and value: one row for each subject that has any.
    relation text NOT NULL CHECK (relation ~ '^[a-z_]+\.[a-z_]+$')
);

COMMENT ON TABLE counters.truth IS
    'Outside of moves: part of the schema, the same on every shard.';

-- Compares the next subjects of a bucket after one, at most so many, with one snapshot. A row with a subject for
-- each count that is wrong, and one without at the end: how many were compared, and the last of them, which is
-- null where there are no more.
CREATE FUNCTION counters.compare(
    asked_bucket smallint,
    asked_kind smallint,
    after bigint,
    most integer
) RETURNS TABLE (subject bigint, counted bigint, truth bigint, checked bigint, last bigint)
LANGUAGE plpgsql STABLE STRICT
AS $$
DECLARE
    source text;
BEGIN
    SELECT t.relation INTO STRICT source FROM counters.truth AS t WHERE t.kind = asked_kind;
    RETURN QUERY EXECUTE format(
        $query$
        WITH known AS MATERIALIZED (
            SELECT t.subject, t.value
            FROM %s AS t
            WHERE t.bucket = $1 AND t.subject > $3
            ORDER BY t.subject
            LIMIT $4
        ), counters AS MATERIALIZED (
            SELECT c.subject, c.value
            FROM counters.current AS c
            WHERE c.bucket = $1 AND c.kind = $2 AND c.subject > $3
            ORDER BY c.subject
            LIMIT $4
        ), bound AS MATERIALIZED (
            -- Where a list was cut, nothing is known of what follows.
            SELECT least(
                (SELECT max(k.subject) FROM known AS k HAVING count(*) = $4),
                (SELECT max(c.subject) FROM counters AS c HAVING count(*) = $4)
            ) AS last
        ), compared AS MATERIALIZED (
            SELECT subject, coalesce(c.value, 0) AS counted, coalesce(k.value, 0) AS truth
            FROM known AS k
            FULL JOIN counters AS c USING (subject)
            WHERE subject <= coalesce((SELECT b.last FROM bound AS b), 9223372036854775807)
        )
        SELECT c.subject, c.counted, c.truth, NULL::bigint, NULL::bigint
        FROM compared AS c
        WHERE c.counted <> c.truth
        UNION ALL
        SELECT NULL, NULL, NULL, (SELECT count(*) FROM compared), (SELECT b.last FROM bound AS b)
        $query$,
        source
    )
    USING asked_bucket, asked_kind, after, most;
END
$$;

-- Makes one count right, in a transaction that has passed the fence. Appends the difference that one snapshot
-- shows: whatever else is being counted meanwhile is neither in the truth nor in the count of that snapshot, and
-- is added by its own change. Gives what was wrong, or no row.
CREATE FUNCTION counters.repair(
    asked_bucket smallint,
    asked_kind smallint,
    asked_subject bigint
) RETURNS TABLE (counted bigint, truth bigint)
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
    source text;
BEGIN
    SELECT t.relation INTO STRICT source FROM counters.truth AS t WHERE t.kind = asked_kind;
    -- In a statement of its own: the next one has a newer snapshot, which shows what another repair of this
    -- count has committed while this one waited, and would otherwise be done twice.
    PERFORM pg_catalog.pg_advisory_xact_lock(
        pg_catalog.hashint8extended(asked_subject, asked_kind::bigint)
    );
    RETURN QUERY EXECUTE format(
        $query$
        WITH compared AS MATERIALIZED (
            SELECT
                coalesce((
                    SELECT c.value
                    FROM counters.current AS c
                    WHERE c.bucket = $1 AND c.subject = $3 AND c.kind = $2
                ), 0) AS counted,
                coalesce((
                    SELECT t.value FROM %s AS t WHERE t.bucket = $1 AND t.subject = $3
                ), 0) AS truth
        ), repaired AS (
            INSERT INTO counters.delta (bucket, subject, kind, amount)
            -- A difference that does not fit is made up for in several rounds.
            SELECT $1, $3, $2,
                greatest(least(c.truth - c.counted, 2147483647), -2147483647)::integer
            FROM compared AS c
            WHERE c.counted <> c.truth
        )
        SELECT c.counted, c.truth FROM compared AS c WHERE c.counted <> c.truth
        $query$,
        source
    )
    USING asked_bucket, asked_kind, asked_subject;
END
$$;

REVOKE ALL ON FUNCTION
    counters.compare(smallint, smallint, bigint, integer),
    counters.repair(smallint, smallint, bigint)
FROM PUBLIC;
GRANT SELECT ON counters.truth TO worker;
GRANT EXECUTE ON FUNCTION
    counters.compare(smallint, smallint, bigint, integer),
    counters.repair(smallint, smallint, bigint)
TO worker;

-- Changes come and go: without this, the places of some thousand that were folded would be read again and again.
ALTER TABLE counters.delta SET (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000
);
