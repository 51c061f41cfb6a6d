-- The timeline is computed when it is read. Two steps instead of twenty rows of every followed author: the twenty
-- newest posts are all by the twenty authors whose newest post is newest, which one look into the index each finds out.
WITH newest AS MATERIALIZED (
    SELECT f.followed
    FROM follow AS f
    CROSS JOIN LATERAL (
        SELECT p.id FROM post AS p WHERE p.author = f.followed ORDER BY p.id DESC LIMIT 1
    ) AS last
    WHERE f.follower = $1
    ORDER BY last.id DESC
    LIMIT 20
), page AS MATERIALIZED (
    SELECT p.id
    FROM newest AS n
    CROSS JOIN LATERAL (
        SELECT p.id FROM post AS p WHERE p.author = n.followed ORDER BY p.id DESC LIMIT 20
    ) AS p
    ORDER BY p.id DESC
    LIMIT 20
)
SELECT p.id, p.text, p.created_at, p.likes, p.replies, a.id AS author, a.username, a.display_name, a.avatar
FROM page
JOIN post AS p USING (id)
JOIN person AS a ON a.id = p.author
ORDER BY p.id DESC
