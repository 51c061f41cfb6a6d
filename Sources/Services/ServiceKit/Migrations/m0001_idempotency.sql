-- The first answers to requests that carried an Idempotency-Key. A row is written in the transaction whose
-- answer it is, in the actor's bucket, and moves with it: a repeat finds it on whichever shard.

CREATE SCHEMA idempotency;

CREATE TABLE idempotency.answer (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    actor bigint NOT NULL,
    key text NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    -- SHA-256 over operation and input: the same key with another body is a mistake of the client.
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    status smallint NOT NULL CHECK (status BETWEEN 200 AND 599),
    content_type text NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, actor, key)
);

CREATE INDEX answer_age ON idempotency.answer (bucket, created_at);

-- Keeps the answer, or refuses: TI001 where the key has an answer already, TI002 where another transaction
-- with this key is under way. The lock ends with the transaction; two keys that share its hash only make
-- one of two simultaneous requests try again.
CREATE FUNCTION idempotency.keep(
    bucket smallint,
    actor bigint,
    key text,
    request_hash bytea,
    status smallint,
    content_type text,
    body bytea
) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF NOT pg_catalog.pg_try_advisory_xact_lock(
        pg_catalog.hashtextextended(keep.key, keep.actor)
    ) THEN
        RAISE EXCEPTION 'a request with this key is under way' USING ERRCODE = 'TI002';
    END IF;
    INSERT INTO idempotency.answer AS a
        (bucket, actor, key, request_hash, status, content_type, body)
    VALUES (
        keep.bucket, keep.actor, keep.key, keep.request_hash, keep.status, keep.content_type,
        keep.body
    )
    ON CONFLICT ON CONSTRAINT answer_pkey DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this key has an answer' USING ERRCODE = 'TI001';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION idempotency.keep(smallint, bigint, text, bytea, smallint, text, bytea)
FROM PUBLIC;
GRANT USAGE ON SCHEMA idempotency TO app, worker;
GRANT SELECT, INSERT ON idempotency.answer TO app;
GRANT SELECT, DELETE ON idempotency.answer TO worker;
GRANT EXECUTE ON FUNCTION
    idempotency.keep(smallint, bigint, text, bytea, smallint, text, bytea)
TO app;
