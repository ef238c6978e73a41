-- The answers of calls that administrators may repeat: `id` stands for the caller and the key of the call, which is not here and
-- alone opens `answer`. `number` counts the rows of a tailnet.
CREATE TABLE kept_answers (
    id BLOB PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    kept_at BIGINT NOT NULL,
    request_hash BLOB NOT NULL,
    answer BLOB NOT NULL
);
CREATE UNIQUE INDEX kept_answers_tailnet_id_number_key ON kept_answers (tailnet_id, number);
CREATE INDEX kept_answers_by_age ON kept_answers (kept_at);
