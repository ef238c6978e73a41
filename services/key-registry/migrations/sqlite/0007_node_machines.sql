-- Whether a machine has a node, whatever the tailnet.
CREATE INDEX nodes_any_machine ON nodes (machine_key);
