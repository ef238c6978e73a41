//! The databases of the services, as one process and separate processes have them.

use std::{path::Path, sync::Arc};

use bowline_clock::SystemClock;
use bowline_db::DatabaseOptions;
use bowline_identity::Identity;
use bowline_key_registry::KeyRegistry;
use bowline_policy_compiler::PolicyCompiler;
use bowline_service_kit::ServiceName;

/// A service with a database of its own.
#[derive(Clone, Debug)]
pub struct OwnerDatabase {
    /// The service.
    pub service: ServiceName,
    /// How its database is opened.
    pub options: DatabaseOptions,
}

/// Returns the services with a database of their own. Who follows another comes before it: read in this order, one after the
/// other, none refers to what another has not.
#[must_use]
pub fn owner_databases() -> [OwnerDatabase; 3] {
    let clock = || Arc::new(SystemClock);
    [
        OwnerDatabase {
            service: ServiceName::KeyRegistry,
            options: KeyRegistry::database_options(clock()),
        },
        OwnerDatabase {
            service: ServiceName::PolicyCompiler,
            options: PolicyCompiler::database_options(clock()),
        },
        OwnerDatabase {
            service: ServiceName::Identity,
            options: Identity::database_options(clock()),
        },
    ]
}

impl OwnerDatabase {
    /// Returns the name of the file that the database is in a state directory.
    #[must_use]
    pub fn file_name(service: ServiceName) -> &'static str {
        match service {
            ServiceName::Identity => "identity.db",
            ServiceName::KeyRegistry => "key-registry.db",
            _ => "policy.db",
        }
    }

    /// Returns the URL of the database of a service in a state directory.
    #[must_use]
    pub fn state_url(state_dir: &Path, service: ServiceName) -> String {
        format!(
            "sqlite://{}",
            state_dir.join(Self::file_name(service)).display()
        )
    }
}
