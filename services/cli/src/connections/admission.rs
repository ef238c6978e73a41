//! Who may log in by a connection.

use bowline_proto::identity::v1::Admission;
use clap::Args;

/// Who of those that the provider knows may log in.
#[derive(Debug, Args)]
pub struct AdmissionArgs {
    /// Only people with a verified address in this mail domain may log in.
    #[arg(long = "allow-domain")]
    allow_domains: Vec<String>,
    /// Only people in this group of the provider may log in.
    #[arg(long = "allow-group")]
    allow_groups: Vec<String>,
    /// Only people with this login name may log in.
    #[arg(long = "allow-user")]
    allow_users: Vec<String>,
    /// Only people who are users already may log in.
    #[arg(long)]
    known_users_only: bool,
}

impl AdmissionArgs {
    pub(super) fn into_admission(self) -> Admission {
        Admission {
            domains: self.allow_domains,
            groups: self.allow_groups,
            users: self.allow_users,
            known_users_only: self.known_users_only,
        }
    }
}
