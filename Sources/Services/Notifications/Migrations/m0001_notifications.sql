-- What users are told of, on their own shards.

CREATE SCHEMA notifications;

-- One row for each cause: somebody, in some way, about something. A notification that was taken back or dismissed
-- stays as a row, so that a late effect of its cause finds it; old rows are deleted past a bound for each kind.
CREATE TABLE notifications.notification (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    recipient bigint NOT NULL,
    -- 1 follow, 2 follow_request, 3 favourite, 4 mention, 5 reblog, 6 status, 7 poll, 8 update, 9 tag, 10 admin.report
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 100),
    -- The post or the report; 0 where there is none.
    subject bigint NOT NULL,
    actor bigint NOT NULL,
    -- Given anew when the cause comes again: the order of lists.
    id bigint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    active boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, recipient, kind, subject, actor),
    CHECK (bucket = (recipient >> 6) & 1023)
);

CREATE INDEX notification_list ON notifications.notification (bucket, recipient, id DESC)
WHERE active;

CREATE INDEX notification_age ON notifications.notification (bucket, recipient, kind, id DESC);

CREATE TABLE notifications.setting (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    -- From whom each kind is wanted, where not from everybody: {"favourite": "followed", "reblog": "nobody"}
    senders jsonb NOT NULL DEFAULT '{}',
    -- Notifications up to this id were cleared.
    cleared bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, user_id),
    CHECK (bucket = (user_id >> 6) & 1023)
);

-- How far a timeline was read, on whichever device.
CREATE TABLE notifications.marker (
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    user_id bigint NOT NULL,
    timeline text NOT NULL CHECK (timeline IN ('home', 'notifications')),
    last_read bigint NOT NULL,
    version integer NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, user_id, timeline),
    CHECK (bucket = (user_id >> 6) & 1023)
);

GRANT USAGE ON SCHEMA notifications TO app, worker;
GRANT SELECT ON ALL TABLES IN SCHEMA notifications TO app, worker;
GRANT UPDATE (active) ON notifications.notification TO app;
GRANT INSERT, UPDATE, DELETE ON notifications.notification TO worker;
GRANT INSERT, UPDATE ON notifications.setting, notifications.marker TO app;
