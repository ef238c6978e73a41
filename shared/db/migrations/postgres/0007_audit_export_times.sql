-- When all that was new has last reached a destination, and which key has signed it. Destinations are named by their place from
-- now on: each gets all heads once more.
DELETE FROM audit_exports;
DELETE FROM audit_export_turns;
ALTER TABLE audit_export_turns ADD COLUMN exported_at BIGINT;
ALTER TABLE audit_export_turns ADD COLUMN signer TEXT;
