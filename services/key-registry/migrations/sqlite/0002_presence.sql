-- A report counts against those of the same gateway by its number, against those of others by its time.
ALTER TABLE soft_states ADD COLUMN reporter TEXT NOT NULL DEFAULT '';
ALTER TABLE soft_states ADD COLUMN reported_at BIGINT NOT NULL DEFAULT 0;

-- A gateway that has left is waited for by nobody, but its nodes' time to come back still runs.
ALTER TABLE gateways ADD COLUMN has_left BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gateway_progress ADD COLUMN identity_revision BIGINT NOT NULL DEFAULT 0;

-- Tailnets whose primary routers have to be elected again: noted with what makes it necessary.
CREATE TABLE elections (
    tailnet_id BIGINT NOT NULL PRIMARY KEY
);
