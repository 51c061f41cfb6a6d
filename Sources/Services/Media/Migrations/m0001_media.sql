CREATE SCHEMA media;

-- A photo, or a picture of a profile, in its owner's bucket. Its files are in the object store under
-- media/<name>-<generation>/; a row is written before they are and outlives them, so none is ever orphaned.
CREATE TABLE media.medium (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    id bigint NOT NULL,
    owner_id bigint NOT NULL,
    -- 0 photo of a post, 1 avatar, 2 header.
    use smallint NOT NULL CHECK (use BETWEEN 0 AND 2),
    -- 0 pending: its files are being stored; 1 ready; 2 attached; 3 deleted: a tombstone.
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 3),
    name text NOT NULL CHECK (name ~ '^[0-9a-f]{32}$'),
    generation integer NOT NULL DEFAULT 1 CHECK (generation > 0),
    original_file text,
    small_file text,
    width integer CHECK (width > 0),
    height integer CHECK (height > 0),
    small_width integer CHECK (small_width > 0),
    small_height integer CHECK (small_height > 0),
    blurhash text,
    description text CHECK (length(description) <= 1500),
    focus_x double precision CHECK (focus_x BETWEEN -1 AND 1),
    focus_y double precision CHECK (focus_y BETWEEN -1 AND 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When the collector takes the files away; null for what is in use, and for tombstones without files.
    expires_at timestamptz,
    PRIMARY KEY (bucket, id),
    CHECK (bucket = (owner_id >> 6) & 1023),
    CHECK (bucket = (id >> 6) & 1023),
    CHECK ((focus_x IS NULL) = (focus_y IS NULL)),
    CHECK (state NOT IN (1, 2) OR (original_file IS NOT NULL AND width IS NOT NULL AND height IS NOT NULL))
);

CREATE INDEX medium_expiry ON media.medium (bucket, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX medium_profile ON media.medium (bucket, owner_id, use, id) WHERE use > 0 AND state < 3;

-- Which posts show a medium. `detached` wins over a late `attached`: effects come in any order.
CREATE TABLE media.attachment (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    medium_id bigint NOT NULL,
    post_id bigint NOT NULL,
    detached boolean NOT NULL,
    PRIMARY KEY (bucket, medium_id, post_id)
);

GRANT USAGE ON SCHEMA media TO app, worker;
GRANT SELECT, INSERT, UPDATE ON media.medium TO app, worker;
GRANT SELECT ON media.attachment TO app;
GRANT SELECT, INSERT, UPDATE ON media.attachment TO worker;
