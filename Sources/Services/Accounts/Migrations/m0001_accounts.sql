-- Users, their names and sessions; applications and the codes of their authorisations.
-- The bucket of a row: of a user for what is the user's; of hash(name) for a name, hash(client id) for an
-- application and what it owns, hash(code) for a code.

CREATE SCHEMA accounts;

GRANT USAGE ON SCHEMA accounts TO app, worker;

-- A name belongs to whoever holds its row. `pending` until the decision on the user's shard is known.
CREATE TABLE accounts.name_claim (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    kind smallint NOT NULL CHECK (kind IN (1, 2)),
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 254),
    user_id bigint NOT NULL,
    -- The id under which the user's shard says whether the claim counts.
    decision bigint NOT NULL,
    held boolean NOT NULL,
    -- Hash of the idempotency key: a repetition need not wait for the attempt that it repeats.
    attempt bytea,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, kind, name)
);

-- What became of an attempt to take names: written once, by the attempt or by whoever gives it up.
CREATE TABLE accounts.decision (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    id bigint NOT NULL,
    committed boolean NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, id)
);

CREATE TABLE accounts.account (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    id bigint NOT NULL,
    username text NOT NULL CHECK (octet_length(username) BETWEEN 1 AND 30),
    username_folded text NOT NULL CHECK (octet_length(username_folded) BETWEEN 1 AND 30),
    -- 1 active, 2 suspended, 3 deleted: then only the row itself is left.
    state smallint NOT NULL DEFAULT 1 CHECK (state IN (1, 2, 3)),
    -- 0 everybody, 10 administrator
    role smallint NOT NULL DEFAULT 0 CHECK (role IN (0, 10)),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    display_name text NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 100),
    note text NOT NULL DEFAULT '' CHECK (char_length(note) <= 2000),
    field_names text[] NOT NULL DEFAULT '{}',
    field_values text[] NOT NULL DEFAULT '{}',
    avatar_url text,
    avatar_static_url text,
    avatar_description text NOT NULL DEFAULT '',
    header_url text,
    header_static_url text,
    header_description text NOT NULL DEFAULT '',
    locked boolean NOT NULL DEFAULT false,
    bot boolean NOT NULL DEFAULT false,
    discoverable boolean NOT NULL DEFAULT true,
    indexable boolean NOT NULL DEFAULT true,
    hide_collections boolean NOT NULL DEFAULT false,
    default_privacy text NOT NULL DEFAULT 'public'
        CHECK (default_privacy IN ('public', 'unlisted', 'private', 'direct')),
    default_sensitive boolean NOT NULL DEFAULT false,
    default_language text,
    PRIMARY KEY (bucket, id),
    CHECK (cardinality(field_names) = cardinality(field_values)),
    CHECK (cardinality(field_names) <= 4)
);

-- Search by the beginning of a name asks every bucket of a shard.
CREATE INDEX account_name ON accounts.account (username_folded text_pattern_ops) WHERE state = 1;

CREATE TABLE accounts.credential (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    email text NOT NULL CHECK (octet_length(email) BETWEEN 3 AND 254),
    password_hash text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, user_id)
);

-- One log-in. A row that is revoked before it was made stands for one that must never be made.
CREATE TABLE accounts.session (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    id bigint NOT NULL,
    user_id bigint,
    client_id text NOT NULL,
    client_name text NOT NULL,
    client_website text,
    scopes text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    address text NOT NULL DEFAULT '',
    PRIMARY KEY (bucket, id)
);

CREATE INDEX session_of_user ON accounts.session (bucket, user_id, id);

CREATE TABLE accounts.application (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    client_id text NOT NULL CHECK (octet_length(client_id) BETWEEN 1 AND 64),
    id bigint NOT NULL,
    -- SHA-256 of the secret; null for a public client, which has none.
    secret_hash bytea CHECK (octet_length(secret_hash) = 32),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    website text CHECK (char_length(website) <= 2000),
    redirect_uris text[] NOT NULL CHECK (cardinality(redirect_uris) BETWEEN 1 AND 20),
    scopes text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, client_id)
);

CREATE TABLE accounts.code (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    -- SHA-256 of the code: who reads this table cannot use it.
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    client_id text NOT NULL,
    user_id bigint NOT NULL,
    redirect_uri text NOT NULL,
    scopes text NOT NULL,
    challenge text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    -- The session that the code was spent on.
    session_id bigint,
    PRIMARY KEY (bucket, hash)
);

CREATE INDEX code_expiry ON accounts.code (expires_at);

-- A sign-up that is sent again with its key is answered with what it did the first time.
CREATE TABLE accounts.sign_up (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    key_hash bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    body_hash bytea NOT NULL CHECK (octet_length(body_hash) = 32),
    user_id bigint NOT NULL,
    session_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, key_hash)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA accounts TO app, worker;
