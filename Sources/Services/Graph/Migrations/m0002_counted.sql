-- What the counts of follows are counts of, for recounting them.

CREATE VIEW graph.counted_followers AS
SELECT bucket, followed AS subject, count(*) AS value
FROM graph.follower
WHERE active
GROUP BY bucket, followed;

CREATE VIEW graph.counted_following AS
SELECT bucket, user_id AS subject, count(*) AS value
FROM graph.following
WHERE active
GROUP BY bucket, user_id;

GRANT SELECT ON graph.counted_followers, graph.counted_following TO worker;

INSERT INTO counters.truth (kind, name, relation)
VALUES
    (10, 'followers', 'graph.counted_followers'),
    (11, 'following', 'graph.counted_following');

-- With the edge's id, which tells when the follow was made.
CREATE OR REPLACE VIEW graph.follower_active AS
SELECT f.bucket, f.followed, f.follower_bucket, f.follower, f.id
FROM graph.follower AS f
WHERE f.active
    AND NOT EXISTS (
        SELECT
        FROM graph.block AS b
        WHERE b.bucket = f.bucket AND b.user_id = f.followed AND b.target_id = f.follower AND b.active
    );
