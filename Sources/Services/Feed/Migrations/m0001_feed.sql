CREATE SCHEMA feed;

-- Posts that were delivered to a reader. A rebuildable view: what it lacks can be rebuilt from the posts,
-- and an entry whose author is no longer followed is never shown, so that removing it is no hurry.
CREATE TABLE feed.entry (
    bucket smallint NOT NULL,
    reader bigint NOT NULL,
    post_id bigint NOT NULL,
    author bigint NOT NULL,
    PRIMARY KEY (bucket, reader, post_id)
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_vacuum_scale_factor = 0.05
);

-- Whose feed is kept. Without a row, or with active = false, nothing is delivered. A feed is complete above
-- its floor once it is rebuilt: activation is committed first, so that no post falls between the two.
CREATE TABLE feed.reader (
    bucket smallint NOT NULL,
    reader bigint NOT NULL,
    active boolean NOT NULL,
    rebuilt boolean NOT NULL DEFAULT false,
    -- Entries at or below it were trimmed: the feed knows nothing of them.
    floor bigint NOT NULL DEFAULT 0,
    -- Counts the returns, so that a rebuild which took too long cannot finish a later one.
    generation bigint NOT NULL DEFAULT 1,
    last_read_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, reader),
    CHECK (bucket = (reader >> 6) & 1023),
    CHECK (active OR NOT rebuilt)
) WITH (fillfactor = 80);

-- Authors with too many followers to deliver to: their posts are merged when a feed is read. Once here, an
-- author stays, so that no post is missed by both ways.
CREATE TABLE feed.pull_author (
    bucket smallint NOT NULL,
    author bigint NOT NULL,
    followers bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, author),
    CHECK (bucket = (author >> 6) & 1023)
);

GRANT USAGE ON SCHEMA feed TO app, worker;
GRANT SELECT ON ALL TABLES IN SCHEMA feed TO app, worker;
GRANT INSERT, UPDATE, DELETE ON feed.entry, feed.reader TO app, worker;
GRANT INSERT ON feed.pull_author TO worker;
