-- Users who were merged into another, who has their numbers from then on.
CREATE TABLE former_users (
    former_id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL
);
CREATE INDEX former_users_user ON former_users (tailnet_id, user_id);
