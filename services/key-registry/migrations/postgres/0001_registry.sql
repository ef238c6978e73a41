-- Each row's body is the message as the registry log has it; the other columns are what is looked up or unique.

CREATE TABLE nodes (
    id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    node_key BYTEA NOT NULL,
    machine_key BYTEA NOT NULL,
    user_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    ipv4 TEXT NOT NULL,
    ipv6 TEXT NOT NULL,
    login_id TEXT,
    key_expiry BIGINT,
    expired BIGINT NOT NULL,
    ephemeral BIGINT NOT NULL,
    routes BIGINT NOT NULL,
    body BYTEA NOT NULL,
    CONSTRAINT nodes_node_key_key UNIQUE (node_key),
    CONSTRAINT nodes_login_id_key UNIQUE (login_id),
    CONSTRAINT nodes_tailnet_id_name_key UNIQUE (tailnet_id, name),
    CONSTRAINT nodes_tailnet_id_ipv4_key UNIQUE (tailnet_id, ipv4),
    CONSTRAINT nodes_tailnet_id_ipv6_key UNIQUE (tailnet_id, ipv6)
);
CREATE INDEX nodes_expiry ON nodes (expired, key_expiry);
CREATE INDEX nodes_ephemeral ON nodes (ephemeral);
CREATE INDEX nodes_routes ON nodes (tailnet_id, routes);

-- Every node key that was ever bound, for ever: a retired one is bound to nobody again.
CREATE TABLE node_keys (
    node_key BYTEA NOT NULL PRIMARY KEY,
    machine_key BYTEA NOT NULL,
    tailnet_id BIGINT NOT NULL,
    node_id BIGINT NOT NULL,
    bound_at BIGINT NOT NULL
);

-- The next address of each tailnet that nobody has had.
CREATE TABLE pools (
    tailnet_id BIGINT NOT NULL PRIMARY KEY,
    next BIGINT NOT NULL
);

CREATE TABLE pre_auth_keys (
    id TEXT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX pre_auth_keys_tailnet ON pre_auth_keys (tailnet_id, created_at);

CREATE TABLE soft_states (
    node_id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    soft_revision BIGINT NOT NULL,
    gateway TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    online BIGINT NOT NULL,
    offline_at BIGINT,
    last_seen BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX soft_states_revision ON soft_states (tailnet_id, soft_revision);
CREATE INDEX soft_states_offline ON soft_states (online, offline_at);
CREATE INDEX soft_states_gateway ON soft_states (gateway, online);

CREATE TABLE gateways (
    gateway TEXT NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE TABLE gateway_progress (
    gateway TEXT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (gateway, tailnet_id)
);
