-- The levels that entries and rows may be written in, with the time since when; none is ever taken back.
CREATE TABLE schema_levels (
    level BIGINT PRIMARY KEY,
    raised_at BIGINT NOT NULL
);

-- The processes that read or write this database, or what it tells; the level is what each knows.
CREATE TABLE processes (
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    level BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (service, id)
);

-- The level that a process needs to work with the schema after a migration.
ALTER TABLE migrations ADD COLUMN least_level BIGINT NOT NULL DEFAULT 0;
