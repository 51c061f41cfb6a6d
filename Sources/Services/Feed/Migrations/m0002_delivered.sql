-- Which posts were delivered to a reader, for Posts: it asks for the reader's marks on them beside the feed itself.
CREATE VIEW feed.delivered AS
SELECT bucket, reader, post_id
FROM feed.entry;

GRANT SELECT ON feed.delivered TO app, worker;
