-- Where a gateway listens, when it was heard of first, and how long (microseconds) its clients may hold on to it after
-- the end of its lease: one that is gone for certain is waited for by nobody.
ALTER TABLE gateways ADD COLUMN slot TEXT NOT NULL DEFAULT '';
ALTER TABLE gateways ADD COLUMN known_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gateways ADD COLUMN staleness BIGINT NOT NULL DEFAULT 3600000000;
-- A gateway tells what it serves in pieces: until the last, a tailnet without progress may be one it serves.
ALTER TABLE gateways ADD COLUMN is_telling BIGINT NOT NULL DEFAULT 0;
