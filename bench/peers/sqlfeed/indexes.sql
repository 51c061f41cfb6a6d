-- After the rows: built once, as a restored server would have them.
CREATE INDEX post_author ON post (author, id DESC);
CREATE INDEX follow_followed ON follow (followed);
VACUUM ANALYZE;
CHECKPOINT;
