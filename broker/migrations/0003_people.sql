-- People and what they may. Secrets are kept as their SHA-256 (they are 256 random bits), passwords as
-- argon2id in the form $argon2id$... Lists of words are lines of one text.

CREATE TABLE people (
    id         TEXT   PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,    -- also of those who were removed: a name is never given twice
    password   TEXT,                      -- none yet, or none any more
    roles      TEXT   NOT NULL,
    groups     TEXT   NOT NULL,
    state      TEXT   NOT NULL,           -- 'active', 'disabled', 'removed'
    created_us BIGINT NOT NULL
);

-- A link with which somebody sets a password. Without a person it is for a first administrator.
CREATE TABLE invitations (
    secret     BLOB   PRIMARY KEY,
    person     TEXT   REFERENCES people (id) ON DELETE CASCADE,
    expires_us BIGINT NOT NULL
);

-- Browsers that have a cookie.
CREATE TABLE logins (
    secret     BLOB   PRIMARY KEY,
    id         TEXT   NOT NULL UNIQUE,
    person     TEXT   NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    created_us BIGINT NOT NULL,
    seen_us    BIGINT NOT NULL,
    address    TEXT   NOT NULL,
    agent      TEXT   NOT NULL
);
CREATE INDEX logins_by_person ON logins (person, created_us);

CREATE TABLE tokens (
    secret     BLOB   PRIMARY KEY,
    id         TEXT   NOT NULL UNIQUE,
    person     TEXT   NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    label      TEXT   NOT NULL,
    scopes     TEXT   NOT NULL,
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    used_us    BIGINT
);
CREATE INDEX tokens_by_person ON tokens (person, created_us);

CREATE TABLE grants (
    id         TEXT   PRIMARY KEY,
    who        TEXT   NOT NULL,           -- person:NAME, group:NAME, role:ROLE
    acts       TEXT   NOT NULL,
    devices    TEXT   NOT NULL,           -- a selector
    logins     TEXT   NOT NULL,
    until_us   BIGINT,
    created_us BIGINT NOT NULL,
    created_by TEXT   NOT NULL
);

-- Who did what on what, from where, with what outcome.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    at_us      BIGINT  NOT NULL,
    who        TEXT    NOT NULL,
    what       TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    request_id TEXT    NOT NULL
);

ALTER TABLE devices ADD COLUMN tags TEXT NOT NULL DEFAULT '';
