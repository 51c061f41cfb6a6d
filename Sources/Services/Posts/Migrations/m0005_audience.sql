-- Posts for close friends; comments that wait for approval; whose likes nobody sees; the post that a comment belongs to.
ALTER TABLE posts.post
    -- Together with visibility 3: a version that does not know it shows the post to the mentioned alone.
    ADD COLUMN close_friends boolean NOT NULL DEFAULT false,
    -- A comment that the owner of the post has not let through: the two see it, nobody else.
    ADD COLUMN held boolean NOT NULL DEFAULT false,
    ADD COLUMN hides_likes boolean NOT NULL DEFAULT false,
    -- The post at the top of the conversation, and whose it is. Null on posts, and on comments from before this column.
    ADD COLUMN root bigint,
    ADD COLUMN root_author bigint,
    ADD CHECK (NOT close_friends OR visibility = 3),
    ADD CHECK (NOT held OR in_reply_to IS NOT NULL);

-- What belongs into home feeds, posts for close friends among them; takes the place of post_home.
CREATE INDEX post_feed ON posts.post (bucket, author, id DESC)
WHERE deleted_at IS NULL AND in_reply_to IS NULL AND (visibility < 3 OR close_friends);

DROP INDEX posts.post_home;

-- Comments that wait, beside the owner of the post, who lets them through; kept by posts.held effects. Other lists and
-- counts hear of a comment when it is let through. State 2 stays: the comment was let through, or is deleted.
CREATE TABLE posts.held_comment (
    bucket smallint NOT NULL,
    host bigint NOT NULL CHECK ((host >> 6) & 1023 = bucket),
    comment bigint NOT NULL,
    parent bigint NOT NULL,
    state smallint NOT NULL CHECK (state IN (1, 2)),
    PRIMARY KEY (bucket, host, comment)
);

CREATE INDEX held_comment_waiting ON posts.held_comment (bucket, host, comment DESC) WHERE state = 1;

GRANT SELECT, INSERT, UPDATE ON posts.held_comment TO app, worker;

-- What an account is counted and dated by is what everybody may see of it: a count tells nothing of the rest. Totals
-- from before are put right by recounting.
CREATE OR REPLACE VIEW posts.listed AS
SELECT bucket, author, id
FROM posts.post
WHERE deleted_at IS NULL AND visibility < 2 AND NOT held;

CREATE OR REPLACE VIEW posts.counted_statuses AS
SELECT bucket, author AS subject, count(*) AS value
FROM posts.post
WHERE deleted_at IS NULL AND visibility < 2 AND NOT held
GROUP BY bucket, author;

-- Pages that show the one or the other as it was are out of date.
CREATE TRIGGER audience_changed AFTER UPDATE ON posts.post FOR EACH ROW
WHEN (old.held <> new.held OR old.hides_likes <> new.hides_likes)
EXECUTE FUNCTION posts.withdraw('6');
