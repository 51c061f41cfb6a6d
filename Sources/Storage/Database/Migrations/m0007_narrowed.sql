-- Two more kinds of what leaves rendered pages: 8 an author of whose posts fewer may see what is open, 9 takes an 8 back.
-- A node of an older version passes over them.
ALTER TABLE control.withdrawn
    DROP CONSTRAINT withdrawn_kind_check,
    ADD CONSTRAINT withdrawn_kind_check CHECK (kind BETWEEN 1 AND 9);
