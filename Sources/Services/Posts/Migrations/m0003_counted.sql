-- What the counts of posts and of authors are counts of, for recounting them.

CREATE VIEW posts.counted_likes AS
SELECT bucket, post AS subject, count(*) AS value
FROM posts.favourite
WHERE active
GROUP BY bucket, post;

CREATE VIEW posts.counted_replies AS
SELECT bucket, parent AS subject, count(*) AS value
FROM posts.reply
WHERE active AND counted
GROUP BY bucket, parent;

CREATE VIEW posts.counted_statuses AS
SELECT bucket, author AS subject, count(*) AS value
FROM posts.post
WHERE deleted_at IS NULL AND visibility < 3
GROUP BY bucket, author;

GRANT SELECT ON posts.counted_likes, posts.counted_replies, posts.counted_statuses TO worker;

INSERT INTO counters.truth (kind, name, relation)
VALUES
    (1, 'likes', 'posts.counted_likes'),
    (2, 'replies', 'posts.counted_replies'),
    (12, 'statuses', 'posts.counted_statuses');
