-- Somebody asked the device for another key; it is told so until it uses one.
ALTER TABLE devices ADD COLUMN key_asked BOOLEAN NOT NULL DEFAULT FALSE;
