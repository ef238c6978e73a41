-- Which control keys a gateway says that it has (bowline.key_registry.v1.ReportedControlKeys); nothing where it does not say.
ALTER TABLE gateways ADD COLUMN control_keys BYTEA;
