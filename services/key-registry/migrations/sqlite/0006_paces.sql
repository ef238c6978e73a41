-- How often who makes nodes may make more: users, and keys without user. Who is rested has no row.
CREATE TABLE paces (
    tailnet_id BIGINT NOT NULL,
    maker TEXT NOT NULL,
    -- When as many as at first may be made at once again.
    rested_at BIGINT NOT NULL,
    PRIMARY KEY (tailnet_id, maker)
);

-- How many nodes a tailnet and each of its users have.
CREATE INDEX nodes_user ON nodes (tailnet_id, user_id);
