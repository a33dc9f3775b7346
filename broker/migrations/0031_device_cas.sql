-- Which handover of the broker's CA each device has heard; none before the first.
CREATE TABLE device_cas (
    device     TEXT   PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL
);
