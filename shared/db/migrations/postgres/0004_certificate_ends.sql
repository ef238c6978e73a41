-- When the certificates end that each process shows to other services and to clients, in seconds since 1970.
ALTER TABLE processes ADD COLUMN services_certificate_end BIGINT;
ALTER TABLE processes ADD COLUMN clients_certificate_end BIGINT;
