-- Addresses that are told what happens in a tailnet. A replica that sends takes a webhook until a time, by a number of its
-- own. Without events that wait there is no next attempt.
CREATE TABLE webhooks (
    id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    body BLOB NOT NULL,
    sealed_secret BLOB NOT NULL,
    sealed_old_secret BLOB,
    old_secret_ends_at BIGINT,
    claim BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL,
    next_attempt_at BIGINT,
    failures BIGINT NOT NULL,
    problem TEXT NOT NULL,
    delivered_at BIGINT,
    waiting BIGINT NOT NULL
);
CREATE INDEX webhooks_tailnet ON webhooks (tailnet_id);
CREATE INDEX webhooks_due ON webhooks (next_attempt_at);

-- Events for webhooks. `state` is 0 for one that waits and 1 for one that could not be delivered.
CREATE TABLE webhook_events (
    webhook_id BIGINT NOT NULL,
    state BIGINT NOT NULL,
    position BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    happened_at BIGINT NOT NULL,
    queued_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    problem TEXT NOT NULL,
    given_up_at BIGINT,
    PRIMARY KEY (webhook_id, state, position)
);

-- Up to which entry of an owner's audit trail events were made.
CREATE TABLE webhook_cursors (
    tailnet_id BIGINT NOT NULL,
    owner TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (tailnet_id, owner)
);
