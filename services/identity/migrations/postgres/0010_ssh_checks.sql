-- When the person behind a node proved last, for an SSH connection from it, who he or she is.
CREATE TABLE ssh_checks (
    source_node_id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    checked_at BIGINT NOT NULL
);
CREATE INDEX ssh_checks_age ON ssh_checks (checked_at);
