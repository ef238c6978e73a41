-- The hash of the last entry that was read: a trail with another one there has gone back to an earlier state.
ALTER TABLE webhook_cursors ADD COLUMN hash BLOB;
