-- Questions about machines that wait, which an outside system is to answer. A replica takes one by moving its time ahead.
CREATE TABLE approval_questions (
    node_id BIGINT NOT NULL PRIMARY KEY,
    tailnet_id BIGINT NOT NULL,
    question_id TEXT NOT NULL,
    due BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX approval_questions_due ON approval_questions (due);
