-- What leaves the rendered pages of all nodes: a post that is deleted, or that fewer may see; and one that has
-- changed, whose pages are out of date. Triggers, so that no writer can forget it, a version from before least of all.
CREATE FUNCTION posts.withdraw() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM control.withdraw(tg_argv[0]::smallint, new.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER withdrawn AFTER UPDATE ON posts.post FOR EACH ROW
WHEN (
    (old.deleted_at IS NULL AND new.deleted_at IS NOT NULL) OR new.visibility > old.visibility
)
EXECUTE FUNCTION posts.withdraw('1');

CREATE TRIGGER changed AFTER UPDATE ON posts.post FOR EACH ROW
WHEN (new.edited_at IS DISTINCT FROM old.edited_at)
EXECUTE FUNCTION posts.withdraw('6');

-- Which media a post shows, for Media: it is asked for both in one round trip.
CREATE VIEW posts.attached AS
SELECT bucket, post, media
FROM posts.attachment;

GRANT SELECT ON posts.attached TO app, worker;
