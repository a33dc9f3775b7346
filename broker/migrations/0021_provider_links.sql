-- Which account of an OpenID provider is whose here. The provider's own, never changing subject is what links;
-- names and mail addresses are given to others in time.

CREATE TABLE provider_links (
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    person     TEXT    NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    made       BOOLEAN NOT NULL,        -- the account was made at the first login: roles and groups follow the provider
    created_us BIGINT  NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE UNIQUE INDEX provider_links_by_person ON provider_links (person, issuer);
