-- The second factor of a person: a secret that their authenticator knows, too (RFC 6238). It is kept as it is,
-- since the broker reckons with it; the store's file is 0600.

ALTER TABLE people ADD COLUMN totp BLOB;            -- none, or the secret
ALTER TABLE people ADD COLUMN totp_since_us BIGINT; -- none: begun, but not confirmed by a code, so it counts for nothing
ALTER TABLE people ADD COLUMN totp_step BIGINT NOT NULL DEFAULT 0; -- the last step whose code was taken: none is taken twice

-- Codes for who has lost their authenticator, each good for once; kept as their SHA-256 (they are 80 random bits).
CREATE TABLE recovery_codes (
    person TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    code   BLOB NOT NULL,
    PRIMARY KEY (person, code)
);

ALTER TABLE logins ADD COLUMN way TEXT NOT NULL DEFAULT 'password'; -- 'password', 'provider'
