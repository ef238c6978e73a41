-- Each row's body is the message as the identity log has it; the other columns are what is looked up or unique.

CREATE TABLE tailnets (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    CONSTRAINT tailnets_name_key UNIQUE (name)
);

CREATE TABLE users (
    id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    login_name TEXT NOT NULL,
    body BLOB NOT NULL,
    CONSTRAINT users_tailnet_id_login_name_key UNIQUE (tailnet_id, login_name)
);

-- Logins belong to no tailnet until their user is known.
CREATE TABLE logins (
    id TEXT NOT NULL PRIMARY KEY,
    pending BIGINT NOT NULL,
    machine_key BLOB NOT NULL,
    source TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX logins_machine ON logins (machine_key, pending);
CREATE INDEX logins_source ON logins (source, pending);
CREATE INDEX logins_expiry ON logins (expires_at);
