-- Counts the changes of a post, so that what is kept of it elsewhere can tell news from what is old.
ALTER TABLE posts.post ADD COLUMN version bigint NOT NULL DEFAULT 1;

-- Posts by what they are about, in the bucket of the name's hash: an index, kept by posts.topic effects. A post
-- that is about it no longer stays as a row: its version outlives late effects.
CREATE TABLE posts.topic (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    -- 1 a hashtag, 2 a place, 3 somebody on the photos, who is named by id and whose bucket is their own
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
    -- Folded: equal names are equal texts.
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 1024),
    post bigint NOT NULL,
    author bigint NOT NULL,
    is_reply boolean NOT NULL,
    version bigint NOT NULL,
    active boolean NOT NULL,
    PRIMARY KEY (bucket, kind, name, post)
);

CREATE INDEX topic_active ON posts.topic (bucket, kind, name, post DESC) WHERE active;

-- Hashtags that a user follows.
CREATE TABLE posts.followed_tag (
    bucket smallint NOT NULL,
    user_id bigint NOT NULL CHECK ((user_id >> 6) & 1023 = bucket),
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 1024),
    id bigint NOT NULL,
    PRIMARY KEY (bucket, user_id, name)
);

CREATE INDEX followed_tag_list ON posts.followed_tag (bucket, user_id, id DESC);

-- The public timeline asks each shard for its newest: the one index here that does not begin with the bucket, since
-- the order is that of all buckets.
CREATE INDEX post_public ON posts.post (id DESC)
WHERE deleted_at IS NULL AND visibility = 0 AND in_reply_to IS NULL AND reblog_of IS NULL;

GRANT SELECT ON posts.topic, posts.followed_tag TO app, worker;
GRANT INSERT, UPDATE ON posts.topic TO worker;
GRANT INSERT, DELETE ON posts.followed_tag TO app;
