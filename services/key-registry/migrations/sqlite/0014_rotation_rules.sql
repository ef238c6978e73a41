-- How often each tailnet wants node keys to be replaced, as identity's log says, and how far its nodes follow that.
CREATE TABLE rotation_rules (
    tailnet_id BIGINT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL,
    -- The last node that follows them; NULL once all do.
    followed_to BIGINT
);
