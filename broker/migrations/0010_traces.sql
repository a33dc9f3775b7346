-- Where the set-up of a session is traced: a traceparent of W3C Trace Context.
ALTER TABLE sessions ADD COLUMN traced TEXT;
