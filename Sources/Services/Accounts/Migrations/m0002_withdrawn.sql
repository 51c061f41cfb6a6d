-- An account that is deleted or suspended leaves the rendered pages of all nodes, with everything it has posted.
CREATE FUNCTION accounts.withdraw() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM control.withdraw(2::smallint, new.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER withdrawn AFTER UPDATE ON accounts.account FOR EACH ROW
WHEN (old.state = 1 AND new.state <> 1)
EXECUTE FUNCTION accounts.withdraw();
