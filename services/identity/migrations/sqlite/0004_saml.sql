-- What SAML connections have beside the connection itself: the provider's metadata, and when it is to be loaded again
-- (zero: never, because it was given as a file).
CREATE TABLE saml_metadata (
    connection_id BIGINT NOT NULL PRIMARY KEY,
    document BLOB NOT NULL,
    loaded_at BIGINT NOT NULL,
    reload_at BIGINT NOT NULL
);
CREATE INDEX saml_metadata_reload ON saml_metadata (reload_at);

-- The keys that requests are signed with: the lowest number signs, another one is its successor.
CREATE TABLE saml_keys (
    connection_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    certificate BLOB NOT NULL,
    sealed_key BLOB NOT NULL,
    PRIMARY KEY (connection_id, number)
);

-- What providers have signed to be accepted once, until it would have ended by itself.
CREATE TABLE used_messages (
    connection_id BIGINT NOT NULL,
    digest BLOB NOT NULL,
    kept_until BIGINT NOT NULL,
    PRIMARY KEY (connection_id, digest)
);
CREATE INDEX used_messages_end ON used_messages (kept_until);

-- What a provider's answer says of the person, sealed, until the browser that began the attempt comes for it.
ALTER TABLE login_attempts ADD COLUMN answer BLOB;
