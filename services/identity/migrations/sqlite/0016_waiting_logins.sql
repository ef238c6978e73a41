-- What a pending login lets in, and the tailnet that its device names: an administrator sees those of one tailnet alone.
ALTER TABLE logins ADD COLUMN purpose BIGINT NOT NULL DEFAULT 0;
ALTER TABLE logins ADD COLUMN wanted_tailnet TEXT NOT NULL DEFAULT '';
CREATE INDEX logins_wanted ON logins (pending, purpose, wanted_tailnet, expires_at);
-- Who is logged out or suspended ends the logins that are under way.
CREATE INDEX login_attempts_user ON login_attempts (user_id);
