-- What few posts have: a poll, a place, people on the photos, who may comment. And who took themselves off.
ALTER TABLE posts.post
    ADD COLUMN details jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN untagged bigint[] NOT NULL DEFAULT '{}';

-- Votes, beside the post whose poll they are about. A vote is for good.
CREATE TABLE posts.poll_vote (
    bucket smallint NOT NULL,
    post bigint NOT NULL CHECK ((post >> 6) & 1023 = bucket),
    voter bigint NOT NULL,
    id bigint NOT NULL,
    -- Options by number, from 0.
    choices smallint[] NOT NULL CHECK (cardinality(choices) BETWEEN 1 AND 4),
    PRIMARY KEY (bucket, post, voter)
);

CREATE INDEX poll_vote_list ON posts.poll_vote (bucket, post, id);

CREATE VIEW posts.counted_first_option AS
SELECT bucket, post AS subject, count(*) AS value
FROM posts.poll_vote WHERE 0 = ANY (choices) GROUP BY bucket, post;

CREATE VIEW posts.counted_second_option AS
SELECT bucket, post AS subject, count(*) AS value
FROM posts.poll_vote WHERE 1 = ANY (choices) GROUP BY bucket, post;

CREATE VIEW posts.counted_third_option AS
SELECT bucket, post AS subject, count(*) AS value
FROM posts.poll_vote WHERE 2 = ANY (choices) GROUP BY bucket, post;

CREATE VIEW posts.counted_fourth_option AS
SELECT bucket, post AS subject, count(*) AS value
FROM posts.poll_vote WHERE 3 = ANY (choices) GROUP BY bucket, post;

CREATE VIEW posts.counted_voters AS
SELECT bucket, post AS subject, count(*) AS value
FROM posts.poll_vote GROUP BY bucket, post;

INSERT INTO counters.truth (kind, name, relation)
VALUES
    (5, 'first_option', 'posts.counted_first_option'),
    (6, 'second_option', 'posts.counted_second_option'),
    (7, 'third_option', 'posts.counted_third_option'),
    (8, 'fourth_option', 'posts.counted_fourth_option'),
    (9, 'voters', 'posts.counted_voters');

GRANT SELECT, INSERT ON posts.poll_vote TO app;
GRANT SELECT ON posts.poll_vote, posts.counted_first_option, posts.counted_second_option,
    posts.counted_third_option, posts.counted_fourth_option, posts.counted_voters TO worker;

-- Whoever takes themselves off a post leaves its rendered pages, too.
CREATE TRIGGER untagged AFTER UPDATE ON posts.post FOR EACH ROW
WHEN (old.untagged <> new.untagged)
EXECUTE FUNCTION posts.withdraw('6');

-- Posts that wait for their time, as they will be published; all of it in their author's bucket.
CREATE TABLE posts.scheduled (
    bucket smallint NOT NULL,
    id bigint NOT NULL CHECK (id > 0 AND (id >> 6) & 1023 = bucket),
    author bigint NOT NULL CHECK ((author >> 6) & 1023 = bucket),
    scheduled_at timestamptz NOT NULL,
    -- Whether its author's open posts were for everybody when it was made.
    is_open boolean NOT NULL,
    -- The post as a fragment.
    post jsonb NOT NULL,
    PRIMARY KEY (bucket, id)
);

CREATE INDEX scheduled_list ON posts.scheduled (bucket, author, id DESC);

GRANT SELECT, INSERT, UPDATE, DELETE ON posts.scheduled TO app;
GRANT SELECT, DELETE, UPDATE ON posts.scheduled TO worker;
-- What publishing at the time writes.
GRANT INSERT ON posts.post, posts.attachment TO worker;

-- What somebody has begun to write, as its client keeps it.
CREATE TABLE posts.draft (
    bucket smallint NOT NULL,
    id bigint NOT NULL CHECK (id > 0 AND (id >> 6) & 1023 = bucket),
    owner bigint NOT NULL CHECK ((owner >> 6) & 1023 = bucket),
    -- Counts the changes, so that a device can tell that another one was faster.
    version bigint NOT NULL DEFAULT 1,
    params jsonb NOT NULL CHECK (octet_length(params::text) <= 65536),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, id)
);

CREATE INDEX draft_list ON posts.draft (bucket, owner, id DESC);

GRANT SELECT, INSERT, UPDATE, DELETE ON posts.draft TO app;
