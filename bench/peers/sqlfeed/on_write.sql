-- The timeline was written, a row for each follower, when the post was.
SELECT p.id, p.text, p.created_at, p.likes, p.replies, a.id AS author, a.username, a.display_name, a.avatar
FROM (
    SELECT t.post FROM timeline AS t WHERE t.reader = $1 ORDER BY t.post DESC LIMIT 20
) AS page
JOIN post AS p ON p.id = page.post
JOIN person AS a ON a.id = p.author
ORDER BY p.id DESC
