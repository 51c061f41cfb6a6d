-- What an account that is deleted leaves: workers delete its posts and take its likes back.
GRANT UPDATE ON posts.post, posts.favourite TO worker;
GRANT DELETE ON posts.attachment TO worker;

-- The posts that an account is counted and dated by; for other services.
CREATE VIEW posts.listed AS
SELECT bucket, author, id
FROM posts.post
WHERE deleted_at IS NULL AND visibility < 3;

GRANT SELECT ON posts.listed TO app, worker;
