-- Who gave nodes their tags, as far as the audit trail knows: an administrator (3) or a pre-auth key with tags (2), where
-- nobody has logged in on the node since. Field 23 is appended to the message of the node; its last value counts. All other
-- tags count as their user's.
WITH given AS (
    SELECT tailnet_id, object, MAX(sequence) AS sequence FROM audit
    WHERE action IN ('node.register', 'node.rotate', 'node.tag') GROUP BY tailnet_id, object
)
UPDATE nodes SET body = body || '\xB80103'::bytea
WHERE (tailnet_id, CAST(id AS TEXT)) IN (
    SELECT given.tailnet_id, given.object FROM given
    JOIN audit ON audit.tailnet_id = given.tailnet_id AND audit.sequence = given.sequence
    WHERE audit.action = 'node.tag'
);

WITH given AS (
    SELECT tailnet_id, object, MAX(sequence) AS sequence FROM audit
    WHERE action IN ('node.register', 'node.rotate', 'node.tag') GROUP BY tailnet_id, object
)
UPDATE nodes SET body = body || '\xB80102'::bytea
WHERE (tailnet_id, CAST(id AS TEXT)) IN (
    SELECT given.tailnet_id, given.object FROM given
    JOIN audit ON audit.tailnet_id = given.tailnet_id AND audit.sequence = given.sequence
    JOIN audit AS made ON made.tailnet_id = given.tailnet_id AND made.action = 'pre_auth_key.create'
        AND audit.actor = 'pre-auth-key:' || made.object
    WHERE audit.action <> 'node.tag' AND made.detail LIKE '%"tags":["tag:%'
);
