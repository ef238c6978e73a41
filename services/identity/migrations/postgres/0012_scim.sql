-- Users and groups that a connection's provider keeps here by SCIM. `kind` is 1 for a user and 2 for a group, `id` the one of
-- that table. The body is what the provider says of it, as JSON; the other columns are what is looked up or unique.
CREATE TABLE scim_resources (
    connection_id BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    id BIGINT NOT NULL,
    tailnet_id BIGINT NOT NULL,
    external_id TEXT,
    folded_name TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (connection_id, kind, id),
    CONSTRAINT scim_resources_name_key UNIQUE (connection_id, kind, folded_name),
    CONSTRAINT scim_resources_external_id_key UNIQUE (connection_id, kind, external_id)
);
CREATE INDEX scim_resources_resource ON scim_resources (kind, id);
CREATE INDEX scim_resources_tailnet ON scim_resources (tailnet_id);
