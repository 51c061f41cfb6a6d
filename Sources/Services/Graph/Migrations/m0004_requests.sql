-- Follows that the followed has to allow; what a follower wants to hear of; close friends, restrictions, private notes.

ALTER TABLE graph.following
    -- Asked for, and not answered yet. A version that does not know it sees a follow that has ended.
    ADD COLUMN requested boolean NOT NULL DEFAULT false,
    ADD COLUMN reblogs boolean NOT NULL DEFAULT true,
    ADD COLUMN notify boolean NOT NULL DEFAULT false,
    ADD CHECK (NOT (active AND requested));

ALTER TABLE graph.follower
    ADD COLUMN requested boolean NOT NULL DEFAULT false,
    ADD COLUMN notify boolean NOT NULL DEFAULT false,
    -- The follow (its id) that the followed has refused or ended last: what is heard of it later does not count.
    ADD COLUMN refused bigint NOT NULL DEFAULT 0,
    ADD CHECK (NOT (active AND requested));

CREATE INDEX follower_request ON graph.follower (bucket, followed, id) WHERE requested;

-- What the followed decides about requests, and whom they remove, is theirs to write.
GRANT UPDATE ON graph.follower TO app;

-- Only their owner knows of the following three: nothing mirrors them.

CREATE TABLE graph.close_friend (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    target_id bigint NOT NULL,
    id bigint NOT NULL,
    PRIMARY KEY (bucket, user_id, target_id),
    CHECK (user_id <> target_id),
    CHECK (bucket = (user_id >> 6) & 1023)
);

CREATE INDEX close_friend_page ON graph.close_friend (bucket, user_id, id);

CREATE TABLE graph.restriction (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    target_id bigint NOT NULL,
    id bigint NOT NULL,
    PRIMARY KEY (bucket, user_id, target_id),
    CHECK (user_id <> target_id),
    CHECK (bucket = (user_id >> 6) & 1023)
);

CREATE INDEX restriction_page ON graph.restriction (bucket, user_id, id);

CREATE TABLE graph.note (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    target_id bigint NOT NULL,
    comment text NOT NULL CHECK (char_length(comment) BETWEEN 1 AND 2000),
    PRIMARY KEY (bucket, user_id, target_id),
    CHECK (bucket = (user_id >> 6) & 1023)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON graph.close_friend, graph.restriction, graph.note TO app;
GRANT SELECT ON graph.close_friend, graph.restriction, graph.note TO worker;
GRANT DELETE ON graph.close_friend TO worker;

-- Whoever is a close friend no longer: posts for close friends leave their rendered pages.
CREATE FUNCTION graph.withdraw_friend() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM control.withdraw(3::smallint, old.target_id, old.user_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER estranged AFTER DELETE ON graph.close_friend FOR EACH ROW
EXECUTE FUNCTION graph.withdraw_friend();

-- With who wants to be told of each post.
CREATE OR REPLACE VIEW graph.follower_active AS
SELECT f.bucket, f.followed, f.follower_bucket, f.follower, f.id, f.notify
FROM graph.follower AS f
WHERE f.active
    AND NOT EXISTS (
        SELECT
        FROM graph.block AS b
        WHERE b.bucket = f.bucket AND b.user_id = f.followed AND b.target_id = f.follower AND b.active
    );

-- How many wait for an answer, for Accounts.
CREATE VIEW graph.requested AS
SELECT bucket, followed, follower
FROM graph.follower AS f
WHERE f.requested
    AND NOT EXISTS (
        SELECT
        FROM graph.block AS b
        WHERE b.bucket = f.bucket AND b.user_id = f.followed AND b.target_id = f.follower AND b.active
    );

GRANT SELECT ON graph.requested TO app, worker;
