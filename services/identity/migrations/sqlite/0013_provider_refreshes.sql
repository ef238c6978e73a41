-- By what a provider is asked whether it still vouches for a person: the refresh token of the last login, sealed. Whoever moves
-- `due_at` on asks. `asked_at` is zero, or since when it is asked and no answer came: then the token may be used up.
CREATE TABLE provider_refreshes (
    connection_id BIGINT NOT NULL,
    subject TEXT NOT NULL,
    provider_session TEXT NOT NULL,
    sealed_token BLOB NOT NULL,
    due_at BIGINT NOT NULL,
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (connection_id, subject)
);
CREATE INDEX provider_refreshes_due ON provider_refreshes (due_at);
