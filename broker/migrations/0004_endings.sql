-- The list of the ended sessions, the last one that ended first, is read page by page.
CREATE INDEX sessions_by_end ON sessions (ended_us DESC, id DESC) WHERE ended_us IS NOT NULL;
