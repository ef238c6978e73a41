-- The newest head of each audit trail that a destination outside of the server has.
CREATE TABLE audit_exports (
    destination TEXT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    audit_hash BYTEA NOT NULL,
    PRIMARY KEY (destination, tailnet_id)
);

-- When heads are exported to a destination next; the replica that moves the time does it.
CREATE TABLE audit_export_turns (
    destination TEXT NOT NULL PRIMARY KEY,
    next_at BIGINT NOT NULL
);
