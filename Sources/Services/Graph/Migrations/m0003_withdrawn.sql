-- Whom a viewer's rendered pages must not show any more: the followed who is followed no longer, the muted, and
-- whoever stands behind a block, from either side.
CREATE FUNCTION graph.withdraw_target() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM control.withdraw(tg_argv[0]::smallint, new.user_id, new.target_id);
    RETURN NULL;
END
$$;

CREATE FUNCTION graph.withdraw_blocker() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM control.withdraw(tg_argv[0]::smallint, new.user_id, new.blocker_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER parted AFTER UPDATE ON graph.following FOR EACH ROW
WHEN (old.active AND NOT new.active)
EXECUTE FUNCTION graph.withdraw_target('3');

CREATE TRIGGER muted AFTER INSERT OR UPDATE ON graph.mute FOR EACH ROW
EXECUTE FUNCTION graph.withdraw_target('3');

CREATE TRIGGER blocked_first AFTER INSERT ON graph.block FOR EACH ROW
WHEN (new.active)
EXECUTE FUNCTION graph.withdraw_target('4');

CREATE TRIGGER blocked AFTER UPDATE ON graph.block FOR EACH ROW
WHEN (new.active AND NOT old.active)
EXECUTE FUNCTION graph.withdraw_target('4');

CREATE TRIGGER unblocked AFTER UPDATE ON graph.block FOR EACH ROW
WHEN (old.active AND NOT new.active)
EXECUTE FUNCTION graph.withdraw_target('5');

-- The mirror: pages that were rendered before this shard had heard of the block, however late that was. Not as a block
-- of its own: the blocker's shard alone knows which of block and unblock was the last.
CREATE TRIGGER heard_first AFTER INSERT ON graph.blocked_by FOR EACH ROW
WHEN (new.active)
EXECUTE FUNCTION graph.withdraw_blocker('3');

CREATE TRIGGER heard AFTER UPDATE ON graph.blocked_by FOR EACH ROW
WHEN (new.active AND NOT old.active)
EXECUTE FUNCTION graph.withdraw_blocker('3');
