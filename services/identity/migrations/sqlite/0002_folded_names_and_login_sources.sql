-- The login name in the form in which names that differ only in case are one; NULL until the service has filled it in.
-- Not unique: tailnets from before may have users that differ only in case, and those stay. New ones are refused under
-- the lock of their tailnet.
ALTER TABLE users ADD COLUMN folded_name TEXT;
CREATE INDEX users_folded ON users (tailnet_id, folded_name);

-- What a pending login is counted by and let go by: the networks of its source, narrow to wide, and when a client last
-- waited for it, in microseconds since 1970.
ALTER TABLE logins ADD COLUMN near TEXT NOT NULL DEFAULT '';
ALTER TABLE logins ADD COLUMN middle TEXT NOT NULL DEFAULT '';
ALTER TABLE logins ADD COLUMN far TEXT NOT NULL DEFAULT '';
ALTER TABLE logins ADD COLUMN followed_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX logins_pending ON logins (pending, expires_at);
CREATE INDEX logins_near ON logins (near, pending);
CREATE INDEX logins_middle ON logins (middle, pending);
CREATE INDEX logins_far ON logins (far, pending);

-- One row: who starts a login locks it, so that limits hold however many start one at the same time.
CREATE TABLE login_gate (
    id BIGINT NOT NULL PRIMARY KEY,
    started BIGINT NOT NULL
);
INSERT INTO login_gate (id, started) VALUES (1, 0);
