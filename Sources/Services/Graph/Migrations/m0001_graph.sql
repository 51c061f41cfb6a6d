CREATE SCHEMA graph;

-- Whom a user follows: the truth, in the follower's bucket. An unfollow leaves the row as a tombstone, so
-- that its version only grows and a late message about an earlier state can be told from news.
CREATE TABLE graph.following (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    target_id bigint NOT NULL,
    -- Made anew by each follow: lists page by it.
    id bigint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    active boolean NOT NULL,
    -- The version of the target's block row that the follower saw; a later block ends this follow.
    block_seen bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, user_id, target_id),
    CHECK (user_id <> target_id),
    CHECK (bucket = (user_id >> 6) & 1023)
);

CREATE INDEX following_page ON graph.following (bucket, user_id, id) WHERE active;

-- Who follows a user: the mirror, in the followed's bucket. The key runs by the follower's bucket, so that
-- the followers of one fan-out batch lie in few buckets.
CREATE TABLE graph.follower (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    followed bigint NOT NULL,
    follower_bucket smallint NOT NULL,
    follower bigint NOT NULL,
    id bigint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    active boolean NOT NULL,
    PRIMARY KEY (bucket, followed, follower_bucket, follower),
    CHECK (bucket = (followed >> 6) & 1023),
    CHECK (follower_bucket = (follower >> 6) & 1023)
);

CREATE INDEX follower_page ON graph.follower (bucket, followed, id) WHERE active;

-- Whom a user blocks. The version counts blocks and unblocks in turn: odd while the block stands.
CREATE TABLE graph.block (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    target_id bigint NOT NULL,
    id bigint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    active boolean NOT NULL,
    PRIMARY KEY (bucket, user_id, target_id),
    CHECK (user_id <> target_id),
    CHECK (bucket = (user_id >> 6) & 1023),
    CHECK (active = (version % 2 = 1))
);

CREATE INDEX block_page ON graph.block (bucket, user_id, id) WHERE active;

-- By whom a user is blocked: the mirror, in the blocked's bucket.
CREATE TABLE graph.blocked_by (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    blocker_id bigint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    active boolean NOT NULL,
    PRIMARY KEY (bucket, user_id, blocker_id),
    CHECK (bucket = (user_id >> 6) & 1023)
);

CREATE TABLE graph.mute (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    target_id bigint NOT NULL,
    id bigint NOT NULL,
    notifications boolean NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (bucket, user_id, target_id),
    CHECK (user_id <> target_id),
    CHECK (bucket = (user_id >> 6) & 1023)
);

CREATE INDEX mute_page ON graph.mute (bucket, user_id, id);

-- What other services may read.

CREATE VIEW graph.following_active AS
SELECT bucket, user_id, target_id
FROM graph.following
WHERE active;

-- Without those whom the followed blocks: their follow ends as soon as the block has reached them.
CREATE VIEW graph.follower_active AS
SELECT f.bucket, f.followed, f.follower_bucket, f.follower
FROM graph.follower AS f
WHERE f.active
    AND NOT EXISTS (
        SELECT
        FROM graph.block AS b
        WHERE b.bucket = f.bucket AND b.user_id = f.followed AND b.target_id = f.follower AND b.active
    );

-- Whose posts a user does not want to see, for whichever reason.
CREATE VIEW graph.hidden AS
SELECT bucket, user_id, target_id FROM graph.block WHERE active
UNION ALL
SELECT bucket, user_id, blocker_id FROM graph.blocked_by WHERE active
UNION ALL
SELECT bucket, user_id, target_id
FROM graph.mute
WHERE expires_at IS NULL OR expires_at > now();

GRANT USAGE ON SCHEMA graph TO app, worker;
GRANT SELECT ON ALL TABLES IN SCHEMA graph TO app, worker;
GRANT INSERT, UPDATE ON graph.following, graph.block TO app, worker;
GRANT INSERT, UPDATE, DELETE ON graph.mute TO app, worker;
GRANT INSERT, UPDATE ON graph.follower, graph.blocked_by TO worker;
