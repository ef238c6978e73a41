//! `bowline connections create local`.

use bowline_proto::identity::v1::{
    Connection, CreateConnectionRequest, LocalProvider, connection::Provider,
};

use super::{connect, rows::ConnectionRow};
use crate::{connection::ConnectionArgs, failure::Failure, output::Printer};

/// Makes a connection without a provider.
pub(super) async fn create(
    tailnet_id: u64,
    name: String,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let request = CreateConnectionRequest {
        connection: Some(Connection {
            tailnet_id,
            name,
            provider: Some(Provider::Local(LocalProvider {})),
            ..Connection::default()
        }),
        ..CreateConnectionRequest::default()
    };
    let answer = connect(server)?.create_connection(request).await?;
    let made = answer.into_inner().connection.unwrap_or_default();
    printer.print_row(&ConnectionRow::from(made));
    Ok(())
}
