-- What the newest report says of the host that policy judges: a node that may not change yet is judged by it later.
ALTER TABLE soft_states ADD COLUMN host BYTEA;

-- What a node has asked for that is not done yet, and how often it may ask.
CREATE TABLE adoptions (
    node_id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    -- When its newest report is taken over; the largest number while it waits for its node to be in good standing.
    due BIGINT,
    -- The end of its key that it wishes.
    wished_end BIGINT,
    -- When it may change itself as often as at first again.
    rested_at BIGINT NOT NULL,
    -- When the audit trail said last what it changed of itself, and when it says so next of what it has changed since.
    audited_at BIGINT NOT NULL,
    audit_due BIGINT,
    -- The node as the audit trail said last.
    audited_node BYTEA
);
CREATE INDEX adoptions_due ON adoptions (due);
CREATE INDEX adoptions_audit_due ON adoptions (audit_due);

-- Users whom identity's log says to be suspended or gone, and how far that log is applied.
CREATE TABLE barred_users (
    tailnet_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    PRIMARY KEY (tailnet_id, user_id)
);
CREATE TABLE identity_progress (
    tailnet_id BIGINT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
);

CREATE INDEX nodes_machine ON nodes (tailnet_id, machine_key);
