-- Times are whole microseconds since 1970. Lists of keys are lines of one text.

CREATE TABLE devices (
    id                TEXT    PRIMARY KEY,
    name              TEXT    NOT NULL,
    renamed           BOOLEAN NOT NULL DEFAULT FALSE,  -- a person named it: the agent's name no longer counts
    key               BLOB    NOT NULL,                -- Ed25519 public key, 32 bytes
    login             TEXT    NOT NULL,
    platform          TEXT    NOT NULL,
    sshd              TEXT    NOT NULL,
    software          TEXT    NOT NULL,
    host_keys         TEXT    NOT NULL,                -- pinned
    offered_host_keys TEXT,                            -- shown since, not accepted
    enrolled_us       BIGINT  NOT NULL,
    last_seen_us      BIGINT
);

-- No foreign key to devices: what happened is kept when a device is forgotten.
CREATE TABLE sessions (
    id          TEXT   PRIMARY KEY,
    device      TEXT   NOT NULL,
    device_name TEXT   NOT NULL,
    login       TEXT   NOT NULL,
    person      TEXT   NOT NULL,
    command     TEXT,
    started_us  BIGINT NOT NULL,
    ended_us    BIGINT,
    ending      TEXT                                   -- JSON, as wire::Ending
);

CREATE INDEX sessions_by_start ON sessions (started_us DESC);
CREATE INDEX sessions_by_device ON sessions (device, started_us DESC);
CREATE INDEX sessions_live ON sessions (started_us) WHERE ended_us IS NULL;

-- Empty but for a moment: filled to learn whether the disk takes writes again after it refused one.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), filling BLOB NOT NULL);
