-- Whether a node is approved, so that those that wait are found without reading the others. NULL until the service has filled it
-- in, and of nodes that an older release makes.
ALTER TABLE nodes ADD COLUMN approved BIGINT;
CREATE INDEX nodes_approval ON nodes (approved, tailnet_id);
