-- The epochs of this database: a new one begins when the database has gone back to an earlier state. `base` is what the numbers
-- given in it lie above, `lineage` the server that it began on and the timeline of that.
CREATE TABLE epochs (
    base BIGINT PRIMARY KEY,
    lineage TEXT NOT NULL,
    began_at BIGINT NOT NULL,
    reason TEXT NOT NULL
);
