-- Which nodes a pre-auth key let in is found without reading the whole trail.
CREATE INDEX audit_registrations ON audit (tailnet_id, actor) WHERE action IN ('node.register', 'node.rotate');
-- Machines whose node was kept out when it went with its user: another login is no way around that.
CREATE TABLE kept_out_machines (
    tailnet_id BIGINT NOT NULL,
    machine_key BYTEA NOT NULL,
    PRIMARY KEY (tailnet_id, machine_key)
);
