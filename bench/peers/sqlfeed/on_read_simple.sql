-- The same as most people would write it: the newest twenty of everybody who is followed, and of these the newest.
SELECT p.id, p.text, p.created_at, p.likes, p.replies, a.id AS author, a.username, a.display_name, a.avatar
FROM (
    SELECT last.id
    FROM follow AS f
    CROSS JOIN LATERAL (
        SELECT p.id FROM post AS p WHERE p.author = f.followed ORDER BY p.id DESC LIMIT 20
    ) AS last
    WHERE f.follower = $1
    ORDER BY last.id DESC
    LIMIT 20
) AS page
JOIN post AS p USING (id)
JOIN person AS a ON a.id = p.author
ORDER BY p.id DESC
