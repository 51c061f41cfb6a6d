-- What a straightforward social server keeps in one PostgreSQL.
CREATE TABLE person (
    id bigint PRIMARY KEY,
    username text NOT NULL,
    display_name text NOT NULL,
    avatar text NOT NULL
);

CREATE TABLE follow (
    follower bigint NOT NULL,
    followed bigint NOT NULL,
    PRIMARY KEY (follower, followed)
);

CREATE TABLE post (
    id bigint PRIMARY KEY,
    author bigint NOT NULL,
    text text NOT NULL,
    created_at bigint NOT NULL,
    likes integer NOT NULL DEFAULT 0,
    replies integer NOT NULL DEFAULT 0
);

-- Only the form that inserts on write has rows here.
CREATE TABLE timeline (
    reader bigint NOT NULL,
    post bigint NOT NULL,
    PRIMARY KEY (reader, post)
);
