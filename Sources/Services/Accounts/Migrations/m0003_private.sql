-- Accounts that moderators limit, and what follows when an account goes private.
ALTER TABLE accounts.account ADD COLUMN limited boolean NOT NULL DEFAULT false;

-- Which accounts let followers in one by one, for Graph.
CREATE VIEW accounts.closed AS
SELECT bucket, id
FROM accounts.account
WHERE locked;

GRANT SELECT ON accounts.closed TO app, worker;

-- Open posts of an account that goes private are for its followers from then on; all rendered pages that show one of
-- its posts are rendered anew, by rules that know of it whatever a cached copy of the account says.
CREATE FUNCTION accounts.turn() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM control.withdraw(tg_argv[0]::smallint, new.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER went_private AFTER UPDATE ON accounts.account FOR EACH ROW
WHEN (new.locked AND NOT old.locked)
EXECUTE FUNCTION accounts.turn('8');

CREATE TRIGGER went_public AFTER UPDATE ON accounts.account FOR EACH ROW
WHEN (old.locked AND NOT new.locked)
EXECUTE FUNCTION accounts.turn('9');
