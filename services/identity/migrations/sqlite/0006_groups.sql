-- Groups of users. A user's row keeps the names of the user's groups beside this, for releases that know only those.
CREATE TABLE user_groups (
    id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    CONSTRAINT user_groups_tailnet_id_name_key UNIQUE (tailnet_id, name)
);

-- Who is in which group, and who says so. An older release that writes a user's row leaves these as they are.
CREATE TABLE group_members (
    user_id BIGINT NOT NULL,
    group_id BIGINT NOT NULL,
    source BIGINT NOT NULL,
    connection_id BIGINT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    PRIMARY KEY (user_id, group_id, source, connection_id)
);
CREATE INDEX group_members_group ON group_members (group_id);
CREATE INDEX group_members_tailnet ON group_members (tailnet_id);
