-- Every version of every document, for ever.
CREATE TABLE policies (
    tailnet_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    author TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (tailnet_id, version)
);
