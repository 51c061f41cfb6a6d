-- What a user's apps are told as it happens, in an order that they can resume from.
--
-- Ids of posts and notifications are not in the order of their commits; seq is: it is given under the lock of the
-- user's row, in the transaction that writes the event, so that who has seen n will never find a new event below n.

CREATE SCHEMA events;

-- One row for each user who listens, or did lately; nothing is written for the others.
CREATE TABLE events.stream (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    -- The newest that was given.
    seq bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    -- Of what came up to here something may be missing, since nobody listened.
    floor bigint NOT NULL DEFAULT 0,
    listened_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, user_id),
    CHECK (bucket = (user_id >> 6) & 1023)
) WITH (fillfactor = 70);

CREATE TABLE events.user_event (
    bucket smallint NOT NULL,
    user_id bigint NOT NULL,
    seq bigint NOT NULL,
    -- 1 notification, 2 update, 3 delete, 4 status.update
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 100),
    -- The id of the notification or the post.
    subject bigint NOT NULL,
    -- Tells an event from an earlier one of the same kind about the same subject.
    version bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, user_id, seq),
    UNIQUE (bucket, user_id, kind, subject, version),
    CHECK (bucket = (user_id >> 6) & 1023)
);

-- Appends events to the streams of those users who have listened within a day; an event that a user has already is
-- not given again. Answers with the users who have something new, and their newest seq.
--
-- Locks and reads by statements of their own: the second has a new snapshot, which shows what the holder of the lock
-- has committed. Users are locked in order, so that two batches cannot wait for each other. Of each user the newest
-- 1,000 are kept.
CREATE FUNCTION events.append(
    users bigint[], kinds smallint[], subjects bigint[], versions bigint[]
) RETURNS TABLE (user_id bigint, seq bigint)
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
BEGIN
    IF coalesce(cardinality(users), 0) = 0 THEN
        RETURN;
    END IF;
    PERFORM
    FROM events.stream AS s
    WHERE (s.bucket, s.user_id) IN (
            SELECT ((u.id >> 6) & 1023)::smallint, u.id FROM unnest(users) AS u (id)
        )
        AND s.listened_at > now() - interval '1 day'
    ORDER BY s.bucket, s.user_id
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH given AS (
        SELECT DISTINCT ON (g.user_id, g.kind, g.subject, g.version)
            ((g.user_id >> 6) & 1023)::smallint AS bucket,
            g.user_id, g.kind, g.subject, g.version, g.place
        FROM unnest(users, kinds, subjects, versions) WITH ORDINALITY
            AS g (user_id, kind, subject, version, place)
        ORDER BY g.user_id, g.kind, g.subject, g.version, g.place
    ), fresh AS (
        SELECT s.bucket, s.user_id, g.kind, g.subject, g.version,
            s.seq + row_number() OVER (PARTITION BY s.user_id ORDER BY g.place) AS seq
        FROM given AS g
        JOIN events.stream AS s ON s.bucket = g.bucket AND s.user_id = g.user_id
        WHERE s.listened_at > now() - interval '1 day'
            AND NOT EXISTS (
                SELECT
                FROM events.user_event AS e
                WHERE e.bucket = g.bucket AND e.user_id = g.user_id AND e.kind = g.kind
                    AND e.subject = g.subject AND e.version = g.version
            )
    ), written AS (
        INSERT INTO events.user_event (bucket, user_id, seq, kind, subject, version)
        SELECT bucket, user_id, seq, kind, subject, version
        FROM fresh
    ), newest AS (
        SELECT bucket, user_id, max(seq) AS seq
        FROM fresh
        GROUP BY bucket, user_id
    ), trimmed AS (
        DELETE FROM events.user_event AS e
        USING newest AS n
        WHERE e.bucket = n.bucket AND e.user_id = n.user_id AND e.seq <= n.seq - 1000
    )
    UPDATE events.stream AS s
    SET seq = n.seq
    FROM newest AS n
    WHERE s.bucket = n.bucket AND s.user_id = n.user_id
    RETURNING s.user_id, s.seq;
END
$$;

GRANT USAGE ON SCHEMA events TO app, worker;
GRANT SELECT ON events.stream, events.user_event TO app, worker;
GRANT INSERT, UPDATE ON events.stream TO app;
GRANT UPDATE ON events.stream TO worker;
GRANT INSERT, DELETE ON events.user_event TO worker;
