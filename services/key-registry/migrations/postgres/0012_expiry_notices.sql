-- Up to which end of its key the audit trail has said of a node that the key ends within a day.
ALTER TABLE nodes ADD COLUMN expiry_noticed BIGINT;
