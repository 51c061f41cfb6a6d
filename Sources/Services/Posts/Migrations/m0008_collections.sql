-- Bookmarks put together under a name; all of it in the bucket of its owner, and seen by nobody else.
CREATE TABLE posts.collection (
    bucket smallint NOT NULL,
    id bigint NOT NULL CHECK (id > 0 AND (id >> 6) & 1023 = bucket),
    owner bigint NOT NULL CHECK ((owner >> 6) & 1023 = bucket),
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 400),
    -- How many posts are in it, changed by the write that puts one in or takes one out.
    items integer NOT NULL DEFAULT 0 CHECK (items >= 0),
    PRIMARY KEY (bucket, id)
);

CREATE INDEX collection_list ON posts.collection (bucket, owner, id DESC);
CREATE UNIQUE INDEX collection_name ON posts.collection (bucket, owner, name);

CREATE TABLE posts.collected (
    bucket smallint NOT NULL,
    collection bigint NOT NULL CHECK ((collection >> 6) & 1023 = bucket),
    post bigint NOT NULL,
    id bigint NOT NULL,
    PRIMARY KEY (bucket, collection, post)
);

CREATE INDEX collected_list ON posts.collected (bucket, collection, id DESC);
CREATE INDEX collected_post ON posts.collected (bucket, post);

GRANT SELECT ON posts.collection, posts.collected TO app, worker;
GRANT INSERT, UPDATE, DELETE ON posts.collection TO app;
GRANT INSERT, DELETE ON posts.collected TO app;
