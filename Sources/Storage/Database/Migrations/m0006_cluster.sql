-- Which cluster this shard belongs to: a random name, so that nobody takes another cluster's data for its own. Null on a
-- shard of before, until the next shardctl init.
ALTER TABLE control.shard ADD COLUMN cluster text CHECK (cluster ~ '^[0-9a-f]{32}$');
