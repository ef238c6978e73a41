-- Users who were merged into another, and whose nodes and keys are the other's here.
CREATE TABLE merged_users (
    tailnet_id BIGINT NOT NULL,
    former_id BIGINT NOT NULL,
    PRIMARY KEY (tailnet_id, former_id)
);
