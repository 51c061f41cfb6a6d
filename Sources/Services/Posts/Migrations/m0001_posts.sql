-- Posts and comments, which are one thing; what was attached to them; who likes and who bookmarks them.
-- The bucket of a row is that of the author for posts, of the post for likes and answers, and of the actor
-- for the actor's own lists. Ids carry their bucket, which the checks below hold every row to.

CREATE SCHEMA posts;

CREATE TABLE posts.post (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    id bigint NOT NULL CHECK (id > 0 AND (id >> 6) & 1023 = bucket),
    author bigint NOT NULL CHECK ((author >> 6) & 1023 = bucket),
    text text NOT NULL CHECK (octet_length(text) <= 20000),
    spoiler_text text NOT NULL DEFAULT '' CHECK (octet_length(spoiler_text) <= 20000),
    sensitive boolean NOT NULL DEFAULT false,
    language text CHECK (octet_length(language) <= 16),
    -- 0 public, 1 unlisted, 2 private (followers), 3 direct (the mentioned)
    visibility smallint NOT NULL CHECK (visibility BETWEEN 0 AND 3),
    media bigint[] NOT NULL DEFAULT '{}' CHECK (cardinality(media) <= 10),
    mentions bigint[] NOT NULL DEFAULT '{}',
    mention_names text[] NOT NULL DEFAULT '{}',
    in_reply_to bigint,
    in_reply_to_author bigint,
    application_name text,
    application_website text,
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    pinned_at timestamptz,
    deleted_at timestamptz,
    PRIMARY KEY (bucket, id),
    CHECK (text <> '' OR cardinality(media) > 0),
    CHECK (cardinality(mentions) = cardinality(mention_names)),
    CHECK ((in_reply_to IS NULL) = (in_reply_to_author IS NULL))
);

-- A user's own page.
CREATE INDEX post_author ON posts.post (bucket, author, id DESC) WHERE deleted_at IS NULL;

-- What belongs into home feeds: no comments, nothing direct.
CREATE INDEX post_home ON posts.post (bucket, author, id DESC)
WHERE deleted_at IS NULL AND in_reply_to IS NULL AND visibility < 3;

-- A user's own answers, shown to their author before the parent's shard has heard of them.
CREATE INDEX post_answer ON posts.post (bucket, author, in_reply_to)
WHERE deleted_at IS NULL AND in_reply_to IS NOT NULL;

-- A photo is attached to one post at most.
CREATE TABLE posts.attachment (
    bucket smallint NOT NULL,
    media bigint NOT NULL CHECK ((media >> 6) & 1023 = bucket),
    post bigint NOT NULL CHECK ((post >> 6) & 1023 = bucket),
    PRIMARY KEY (bucket, media)
);

CREATE INDEX attachment_post ON posts.attachment (bucket, post);

-- Versions of a post before the one that it has.
CREATE TABLE posts.edit (
    bucket smallint NOT NULL,
    post bigint NOT NULL CHECK ((post >> 6) & 1023 = bucket),
    created_at timestamptz NOT NULL,
    text text NOT NULL,
    spoiler_text text NOT NULL,
    sensitive boolean NOT NULL,
    media bigint[] NOT NULL,
    PRIMARY KEY (bucket, post, created_at)
);

-- The truth about a like, beside its post. An unlike stays as a row: its version outlives late effects.
CREATE TABLE posts.favourite (
    bucket smallint NOT NULL,
    post bigint NOT NULL CHECK ((post >> 6) & 1023 = bucket),
    actor bigint NOT NULL,
    -- Given anew by each like: the order of lists.
    id bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (bucket, post, actor)
);

CREATE INDEX favourite_list ON posts.favourite (bucket, post, id DESC) WHERE active;

-- The actor's own list of likes: a mirror, kept by posts.favourite effects.
CREATE TABLE posts.favourited (
    bucket smallint NOT NULL,
    actor bigint NOT NULL CHECK ((actor >> 6) & 1023 = bucket),
    post bigint NOT NULL,
    id bigint NOT NULL,
    version bigint NOT NULL,
    active boolean NOT NULL,
    PRIMARY KEY (bucket, actor, post)
);

CREATE INDEX favourited_list ON posts.favourited (bucket, actor, id DESC) WHERE active;

CREATE TABLE posts.bookmark (
    bucket smallint NOT NULL,
    actor bigint NOT NULL CHECK ((actor >> 6) & 1023 = bucket),
    post bigint NOT NULL,
    id bigint NOT NULL,
    PRIMARY KEY (bucket, actor, post)
);

CREATE INDEX bookmark_list ON posts.bookmark (bucket, actor, id DESC);

-- The answers to a post, beside it: a mirror, kept by posts.reply effects. A deleted answer stays as a row.
CREATE TABLE posts.reply (
    bucket smallint NOT NULL,
    parent bigint NOT NULL CHECK ((parent >> 6) & 1023 = bucket),
    reply bigint NOT NULL,
    author bigint NOT NULL,
    -- Whether it counts for everybody: answers that not everybody may see do not show in the count.
    counted boolean NOT NULL,
    version smallint NOT NULL,
    active boolean NOT NULL,
    PRIMARY KEY (bucket, parent, reply)
);

GRANT USAGE ON SCHEMA posts TO app, worker;
GRANT SELECT, INSERT, UPDATE ON posts.post, posts.favourite TO app;
GRANT SELECT, INSERT ON posts.edit TO app;
GRANT SELECT, INSERT, DELETE ON posts.attachment, posts.bookmark TO app;
GRANT SELECT ON posts.favourited, posts.reply TO app;
GRANT SELECT ON ALL TABLES IN SCHEMA posts TO worker;
GRANT INSERT, UPDATE ON posts.favourited, posts.reply TO worker;
