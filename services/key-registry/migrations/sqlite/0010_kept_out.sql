-- Whether an administrator keeps a node's machine out, so that what it registers is held against that.
ALTER TABLE nodes ADD COLUMN kept_out BIGINT NOT NULL DEFAULT 0;
