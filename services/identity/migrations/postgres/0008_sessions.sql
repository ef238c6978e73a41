-- Sessions of people in browsers. Each row's body is the message; of the secret only a hash is kept. `ceremony` is what a
-- passkey that is being added has to answer.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    secret_hash BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    body BYTEA NOT NULL,
    ceremony BYTEA
);
CREATE INDEX sessions_user ON sessions (tailnet_id, user_id, created_at);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Links that let one person in, once: the row is deleted when it is used.
CREATE TABLE invitations (
    id TEXT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    secret_hash BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX invitations_tailnet ON invitations (tailnet_id, created_at);
CREATE INDEX invitations_expiry ON invitations (expires_at);

-- Keys on people's devices that log in. `credential` is the public key with its counter.
CREATE TABLE passkeys (
    id TEXT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    credential_id BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    body BYTEA NOT NULL,
    credential TEXT NOT NULL,
    CONSTRAINT passkeys_credential_id_key UNIQUE (credential_id)
);
CREATE INDEX passkeys_user ON passkeys (tailnet_id, user_id, created_at);
