-- Whether a user waits for an administrator's approval: 1 for those few, so that they are found without reading the others.
ALTER TABLE users ADD COLUMN awaits_approval BIGINT NOT NULL DEFAULT 0;
CREATE INDEX users_awaiting_approval ON users (tailnet_id, login_name) WHERE awaits_approval = 1;
