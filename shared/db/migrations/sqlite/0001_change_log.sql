-- How far each tailnet's log has come.
CREATE TABLE heads (
    tailnet_id INTEGER PRIMARY KEY,
    revision BIGINT NOT NULL,
    soft_revision BIGINT NOT NULL,
    audit_sequence BIGINT NOT NULL,
    audit_hash BLOB NOT NULL
);

-- One row for each entry, revisions without holes; the oldest are compacted away.
CREATE TABLE change_log (
    tailnet_id BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    committed_at BIGINT NOT NULL,
    entry BLOB NOT NULL,
    PRIMARY KEY (tailnet_id, revision)
) WITHOUT ROWID;

-- Who did what; each row's hash covers the row before it.
CREATE TABLE audit (
    tailnet_id BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    happened_at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tailnet_id, sequence)
) WITHOUT ROWID;

-- The last identifier given; identifiers are shared by all tailnets and never given twice.
CREATE TABLE ids (last BIGINT NOT NULL);
INSERT INTO ids (last) VALUES (0);
