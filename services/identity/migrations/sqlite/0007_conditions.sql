-- What logins by providers must be like before a device is let in.
CREATE TABLE conditions (
    id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX conditions_tailnet ON conditions (tailnet_id);

-- What an attempt asks the provider for because of conditions on the person, once the person is known.
ALTER TABLE login_attempts ADD COLUMN asked TEXT;
