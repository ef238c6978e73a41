-- What is looked up of nodes' custom attributes; all of them stand in the nodes themselves.
CREATE TABLE node_attributes (
    node_id BIGINT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    -- string, number, bool
    kind TEXT NOT NULL,
    -- When it ends by itself; NULL for never.
    expires_at BIGINT,
    PRIMARY KEY (node_id, name)
);
CREATE INDEX node_attributes_by_name ON node_attributes (tailnet_id, name);
CREATE INDEX node_attributes_due ON node_attributes (expires_at);
