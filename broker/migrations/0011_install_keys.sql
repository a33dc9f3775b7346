-- Keys with which devices enrol. Their secrets are not here: `public` (Ed25519) checks what a device signs, and
-- `proof` (a key for HMAC-SHA-256) proves the broker to it; both are made from the secret, one way.
CREATE TABLE install_keys (
    id         TEXT   PRIMARY KEY,
    public     BLOB   NOT NULL,
    proof      BLOB   NOT NULL,
    label      TEXT   NOT NULL,
    mode       TEXT   NOT NULL,           -- 'automatic', 'pending'
    uses_max   BIGINT,                    -- NULL: as often as one likes
    uses       BIGINT NOT NULL DEFAULT 0,
    tags       TEXT   NOT NULL,           -- of the devices that enrol with it
    expires_us BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    created_by TEXT   NOT NULL
);

ALTER TABLE devices ADD COLUMN standing TEXT NOT NULL DEFAULT 'approved';  -- 'pending', 'approved', 'revoked'
ALTER TABLE devices ADD COLUMN install_key TEXT;                            -- with which it enrolled; NULL: the file's
ALTER TABLE devices ADD COLUMN next_key BLOB;                               -- takes the place of `key` when it is first used

CREATE INDEX devices_pending ON devices (id) WHERE standing = 'pending';

-- Ids of devices, and of keys in the form of such ids, that never come in again, also when the device was forgotten.
CREATE TABLE revoked (
    id         TEXT   PRIMARY KEY,
    revoked_us BIGINT NOT NULL
);
