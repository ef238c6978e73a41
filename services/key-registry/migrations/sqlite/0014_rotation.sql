-- How often each tailnet wants node keys to be replaced, as identity's log says, and how far its nodes follow that.
CREATE TABLE rotation_rules (
    tailnet_id BIGINT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL,
    -- The last node that follows them; NULL once all do.
    followed_to BIGINT
);

-- When a key was last bound to a node; NULL while it is, and of keys that an earlier release retired until they are found.
ALTER TABLE node_keys ADD COLUMN retired_at BIGINT;
CREATE INDEX node_keys_retired ON node_keys (retired_at);

-- Keys that were retired long ago: enough to bind none of them again, and to know the machine that had it.
CREATE TABLE retired_keys (
    key_hash BLOB NOT NULL PRIMARY KEY,
    machine_hash BLOB NOT NULL,
    node_id BIGINT NOT NULL
);
