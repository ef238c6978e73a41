-- Whose a provider's session is, for a logout there that names the session alone.
CREATE TABLE provider_sessions (
    connection_id BIGINT NOT NULL,
    provider_session TEXT NOT NULL,
    subject TEXT NOT NULL,
    kept_until BIGINT NOT NULL,
    PRIMARY KEY (connection_id, provider_session)
);
CREATE INDEX provider_sessions_end ON provider_sessions (kept_until);

-- The provider's session that a session here was opened by, and the provider's ID token, sealed.
ALTER TABLE sessions ADD COLUMN provider_session TEXT;
ALTER TABLE sessions ADD COLUMN id_token BLOB;
