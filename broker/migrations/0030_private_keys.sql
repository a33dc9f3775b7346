-- Private keys with which the broker logs in to one device. `sealed` is a nonce and what AES-256-GCM made of the key,
-- for this device alone; `key_id` says with which key of ssh.storage_key_file.
CREATE TABLE device_private_keys (
    device      TEXT   PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    key_id      TEXT   NOT NULL,
    sealed      BLOB   NOT NULL,
    algorithm   TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    login_with  TEXT,                      -- 'certificate', 'certificate_then_key', 'key'; as ssh.login_with says
    set_us      BIGINT NOT NULL
);
