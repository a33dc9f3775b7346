-- Who holds a session's shell: 'keeper' (a process on the device), 'plain' (the broker's own SSH
-- connection), 'unknown' until one of them is known.
ALTER TABLE sessions ADD COLUMN house TEXT NOT NULL DEFAULT 'unknown';

-- The device holds nothing of it any more.
ALTER TABLE sessions ADD COLUMN released BOOLEAN NOT NULL DEFAULT FALSE;

-- Before there were keepers, every shell was the broker's.
UPDATE sessions SET house = 'plain';

CREATE INDEX sessions_unreleased ON sessions (started_us DESC)
    WHERE ended_us IS NOT NULL AND house <> 'plain' AND NOT released;
