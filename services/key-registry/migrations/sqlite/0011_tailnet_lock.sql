-- Tailnet locks. A tailnet has one after the other; of these the last one that is not only begun counts.
CREATE TABLE tailnet_locks (
    tailnet_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    -- begun, on, off
    phase TEXT NOT NULL,
    -- The node that began it.
    begun_by BIGINT NOT NULL,
    -- The hash of the last update, as text.
    head TEXT NOT NULL,
    since BIGINT NOT NULL,
    -- What switched it off; public from then on.
    disablement_secret BLOB,
    PRIMARY KEY (tailnet_id, number)
);
-- Their updates, in the order in which they were taken: each after its parent.
CREATE TABLE lock_updates (
    tailnet_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    place BIGINT NOT NULL,
    taken_at BIGINT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (tailnet_id, number, place)
);
-- The trusted key on which the signature of a node's key rests.
ALTER TABLE nodes ADD COLUMN lock_signer BLOB;
CREATE INDEX nodes_by_lock_signer ON nodes (tailnet_id, lock_signer);
-- Whether a node waits for a signature.
ALTER TABLE nodes ADD COLUMN awaits_signature BIGINT NOT NULL DEFAULT 0;
