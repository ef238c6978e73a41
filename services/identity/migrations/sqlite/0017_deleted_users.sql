-- Users and tailnets that were deleted, for ever: whoever follows this database deletes what belonged to them for that reason only,
-- and never because somebody is not here, which a database that was lost has in common with them.
CREATE TABLE deleted_users (
    tailnet_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    PRIMARY KEY (tailnet_id, user_id)
);
CREATE TABLE deleted_tailnets (
    tailnet_id BIGINT NOT NULL PRIMARY KEY
);

INSERT INTO deleted_users (tailnet_id, user_id)
SELECT DISTINCT tailnet_id, CAST(json_extract(detail, '$.id') AS BIGINT) FROM audit
WHERE action = 'user.delete' AND json_extract(detail, '$.id') IS NOT NULL;
INSERT INTO deleted_tailnets (tailnet_id) SELECT DISTINCT tailnet_id FROM audit WHERE action = 'tailnet.delete';
