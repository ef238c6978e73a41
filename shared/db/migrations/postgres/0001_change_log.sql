-- How far each tailnet's log has come; locking this row makes the tailnet's mutations serial.
CREATE TABLE heads (
    tailnet_id BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL,
    soft_revision BIGINT NOT NULL,
    audit_sequence BIGINT NOT NULL,
    audit_hash BYTEA NOT NULL
);

-- One row for each entry, revisions without holes; the oldest are compacted away.
CREATE TABLE change_log (
    tailnet_id BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    committed_at BIGINT NOT NULL,
    entry BYTEA NOT NULL,
    PRIMARY KEY (tailnet_id, revision)
);

-- Who did what; each row's hash covers the row before it.
CREATE TABLE audit (
    tailnet_id BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    happened_at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (tailnet_id, sequence)
);

-- Identifiers, shared by all tailnets and never given twice.
CREATE SEQUENCE ids;
