-- API keys, OAuth clients and their access tokens. Of a secret only its hash is kept.
CREATE TABLE credentials (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    -- Whose API key it is; zero for the others.
    user_id BIGINT NOT NULL,
    -- Whose access token it is; empty for the others.
    client_id TEXT NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT
);
CREATE INDEX credentials_tailnet ON credentials (tailnet_id, kind, created_at);
CREATE INDEX credentials_user ON credentials (user_id);
CREATE INDEX credentials_client ON credentials (client_id, expires_at);
