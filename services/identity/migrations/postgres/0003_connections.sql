-- Connections to identity providers. The client's secret is sealed with a key outside of the database.
CREATE TABLE connections (
    id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    body BYTEA NOT NULL,
    sealed_secret BYTEA,
    CONSTRAINT connections_tailnet_id_name_key UNIQUE (tailnet_id, name)
);

-- Which mail domains lead to which tailnet's connections.
CREATE TABLE connection_domains (
    domain TEXT NOT NULL,
    connection_id BIGINT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    PRIMARY KEY (domain, connection_id)
);

-- Who is who: a person at a provider is one user, whatever the address there.
CREATE TABLE provider_identities (
    connection_id BIGINT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (connection_id, issuer, subject)
);
CREATE INDEX provider_identities_user ON provider_identities (user_id);

-- Attempts to log in, one for each browser that is sent to a provider. What the browser brings back is found by a hash,
-- and what binds the login is sealed.
CREATE TABLE login_attempts (
    id TEXT NOT NULL PRIMARY KEY,
    login_id TEXT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    connection_id BIGINT NOT NULL,
    browser BYTEA NOT NULL,
    state_hash BYTEA NOT NULL,
    step BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    callback_url TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT login_attempts_state_hash_key UNIQUE (state_hash)
);
CREATE INDEX login_attempts_login ON login_attempts (login_id, expires_at);
CREATE INDEX login_attempts_expiry ON login_attempts (expires_at);
