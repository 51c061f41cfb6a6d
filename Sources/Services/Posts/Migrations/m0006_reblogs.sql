-- A post that passes another one on: a row of its own that points at the original and has nothing else to show.
ALTER TABLE posts.post
    ADD COLUMN reblog_of bigint,
    ADD COLUMN reblog_author bigint;

DO $$
BEGIN
    -- The old rule that a post has a text or a photo, whatever it was named.
    EXECUTE (
        SELECT format('ALTER TABLE posts.post DROP CONSTRAINT %I', conname)
        FROM pg_catalog.pg_constraint
        WHERE conrelid = 'posts.post'::regclass AND contype = 'c'
            AND pg_catalog.pg_get_constraintdef(oid) LIKE '%text <> ''''::text%cardinality(media) > 0%'
    );
END
$$;

-- Not valid: all rows that are there hold to it, and need not be read.
ALTER TABLE posts.post
    ADD CONSTRAINT post_shows CHECK (
        text <> '' OR cardinality(media) > 0 OR reblog_of IS NOT NULL
    ) NOT VALID,
    ADD CONSTRAINT post_reblog CHECK (
        (reblog_of IS NULL) = (reblog_author IS NULL)
        AND (reblog_of IS NULL OR in_reply_to IS NULL AND visibility < 3)
    ) NOT VALID;

-- A user passes a post on once at a time; the viewer's mark on a post is read by it, too.
CREATE UNIQUE INDEX post_reblog_of ON posts.post (bucket, author, reblog_of)
WHERE deleted_at IS NULL AND reblog_of IS NOT NULL;

-- Who passes a post on, beside it: a mirror, kept by posts.reblog effects. A reblog that is gone stays as a row.
CREATE TABLE posts.reblog (
    bucket smallint NOT NULL,
    post bigint NOT NULL CHECK ((post >> 6) & 1023 = bucket),
    reblog bigint NOT NULL,
    actor bigint NOT NULL,
    -- Whether everybody who sees the post may know of it.
    counted boolean NOT NULL,
    version smallint NOT NULL,
    active boolean NOT NULL,
    PRIMARY KEY (bucket, post, reblog)
);

CREATE INDEX reblog_active ON posts.reblog (bucket, post, reblog DESC) WHERE active;

CREATE VIEW posts.counted_reblogs AS
SELECT bucket, post AS subject, count(*) AS value
FROM posts.reblog
WHERE active AND counted
GROUP BY bucket, post;

GRANT SELECT ON posts.reblog TO app;
GRANT SELECT, INSERT, UPDATE ON posts.reblog TO worker;
GRANT SELECT ON posts.counted_reblogs TO worker;

INSERT INTO counters.truth (kind, name, relation)
VALUES (3, 'reblogs', 'posts.counted_reblogs');
