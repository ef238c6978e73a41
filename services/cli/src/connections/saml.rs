//! `bowline connections` for SAML providers.

use std::{io::Read as _, path::PathBuf};

use bowline_proto::identity::v1::{
    Connection, CreateConnectionRequest, RollConnectionKeyRequest, SamlProvider,
    UpdateConnectionRequest, connection::Provider,
};
use clap::Args;
use prost_types::FieldMask;

use super::{
    admission::AdmissionArgs,
    connect, find_of,
    role_groups::RoleGroupArgs,
    rows::{ConnectionRow, KeysRow, NewSamlRow},
};
use crate::{
    administer::TailnetArg,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
};

/// The longest metadata that is sent, in bytes.
const LONGEST: u64 = 1 << 20;

/// A SAML provider.
#[derive(Debug, Args)]
pub struct SamlArgs {
    /// What people choose on the login page.
    name: String,
    #[command(flatten)]
    metadata: MetadataArgs,
    /// A certificate (PEM) that must have signed the metadata. Without it, the metadata is as trustworthy as the way it comes.
    /// Repeat it for more.
    #[arg(long = "metadata-certificate", value_name = "FILE")]
    metadata_certificates: Vec<PathBuf>,
    /// A mail domain that belongs to the organisation: an address in it is the existing user of that name. Repeat it for more.
    #[arg(long = "domain")]
    domains: Vec<String>,
    /// The attribute with the mail address, which nobody may be able to choose. The customary ones when not given.
    #[arg(long, default_value = "")]
    mail_attribute: String,
    /// The attribute with the name for people. The customary ones when not given.
    #[arg(long, default_value = "")]
    name_attribute: String,
    /// The attribute with a person's groups.
    #[arg(long, default_value = "")]
    groups_attribute: String,
    /// The attribute that says who a person is and never changes, such as an employee number. The persistent NameID when not
    /// given.
    #[arg(long, default_value = "")]
    identity_attribute: String,
    /// Take answers that are signed as a whole and whose assertion is not signed itself.
    #[arg(long)]
    accept_signed_response: bool,
    #[command(flatten)]
    beginning: BeginningArgs,
    #[command(flatten)]
    roles: RoleGroupArgs,
    #[command(flatten)]
    admission: AdmissionArgs,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// Who begins logins.
#[derive(Debug, Args)]
pub struct BeginningArgs {
    /// Take logins that begin at the provider, such as by a tile on its page. They open a session at /admin, once the person has
    /// said so there, and let no device in.
    #[arg(long)]
    idp_initiated: bool,
}

/// A change of who begins logins.
#[derive(Debug, Args)]
pub struct SetBeginningArgs {
    /// Which.
    connection: String,
    #[command(flatten)]
    beginning: BeginningArgs,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// Where a provider's metadata comes from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct MetadataArgs {
    /// Where the server loads the metadata from, again and again: new keys of the provider are known by themselves.
    #[arg(long, value_name = "URL")]
    metadata_url: Option<String>,
    /// A file with the metadata; "-" reads it from standard input.
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
}

impl MetadataArgs {
    fn read_document(&self) -> Result<Vec<u8>, Failure> {
        let Some(path) = &self.metadata_file else {
            return Ok(Vec::new());
        };
        let mut document = Vec::new();
        let read = match path.as_os_str() == "-" {
            true => std::io::stdin().take(LONGEST).read_to_end(&mut document),
            false => std::fs::File::open(path)
                .and_then(|file| file.take(LONGEST).read_to_end(&mut document)),
        };
        match read {
            Ok(_) => Ok(document),
            Err(error) => {
                let text = format!(
                    "the metadata in {} can not be read: {error}",
                    path.display()
                );
                Err(Failure::new(FailureKind::Failed, text))
            }
        }
    }
}

/// Makes a connection.
pub(super) async fn create(
    args: SamlArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let tailnet_id = args.tailnet.find_id(server).await?;
    let saml_metadata = args.metadata.read_document()?;
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|error| {
            let text = format!("{} can not be read: {error}", path.display());
            Failure::new(FailureKind::Failed, text)
        })
    };
    let certificates = args.metadata_certificates.iter().map(read);
    let saml = SamlProvider {
        metadata_url: args.metadata.metadata_url.unwrap_or_default(),
        mail_attribute: args.mail_attribute,
        name_attribute: args.name_attribute,
        groups_attribute: args.groups_attribute,
        identity_attribute: args.identity_attribute,
        accepts_signed_response: args.accept_signed_response,
        accepts_unsolicited: args.beginning.idp_initiated,
        metadata_certificates: certificates.collect::<Result<_, _>>()?,
        ..SamlProvider::default()
    };
    let connection = Connection {
        tailnet_id,
        name: args.name,
        domains: args.domains,
        role_groups: args.roles.role_groups,
        admission: Some(args.admission.into_admission()),
        provider: Some(Provider::Saml(saml)),
        ..Connection::default()
    };
    let request = CreateConnectionRequest {
        connection: Some(connection),
        saml_metadata,
        ..CreateConnectionRequest::default()
    };
    let answer = connect(server)?.create_connection(request).await?;
    printer.print_row(&NewSamlRow::from(answer.into_inner()));
    Ok(())
}

/// Replaces the metadata of a provider.
pub(super) async fn set_metadata(
    mut found: Connection,
    metadata: MetadataArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let saml_metadata = metadata.read_document()?;
    require_saml(&mut found)?.metadata_url = metadata.metadata_url.unwrap_or_default();
    let request = UpdateConnectionRequest {
        connection: Some(found),
        update_mask: Some(FieldMask {
            paths: vec!["saml".to_owned(), "saml_metadata".to_owned()],
        }),
        saml_metadata,
        ..UpdateConnectionRequest::default()
    };
    update(request, server, printer).await
}

/// Changes whether a provider may begin logins.
pub(super) async fn set_beginning(
    args: SetBeginningArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut found = find_of(&args.tailnet, &args.connection, server).await?;
    require_saml(&mut found)?.accepts_unsolicited = args.beginning.idp_initiated;
    let request = UpdateConnectionRequest {
        connection: Some(found),
        update_mask: Some(FieldMask {
            paths: vec!["saml".to_owned()],
        }),
        ..UpdateConnectionRequest::default()
    };
    update(request, server, printer).await
}

fn require_saml(found: &mut Connection) -> Result<&mut SamlProvider, Failure> {
    let Some(Provider::Saml(saml)) = &mut found.provider else {
        let text = format!("{} is no connection to a SAML provider", found.name);
        return Err(Failure::new(FailureKind::Refused, text));
    };
    Ok(saml)
}

async fn update(
    request: UpdateConnectionRequest,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let answer = connect(server)?.update_connection(request).await?;
    let changed = answer.into_inner().connection.unwrap_or_default();
    printer.print_row(&ConnectionRow::from(changed));
    Ok(())
}

/// Publishes the successor of a key, or lets it sign.
pub(super) async fn roll_key(
    found: &Connection,
    finish: bool,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let request = RollConnectionKeyRequest {
        tailnet_id: found.tailnet_id,
        connection_id: found.id,
        finish,
    };
    let answer = connect(server)?.roll_connection_key(request).await?;
    printer.print_row(&KeysRow::from(answer.into_inner()));
    Ok(())
}
