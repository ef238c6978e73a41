//! `bowline first-key`: what `bowline serve` does by itself at its first start, for a server of separate processes.

use bowline_clock::{Clock as _, SystemClock};
use bowline_standalone::{FirstStart, FirstStartServices, prepare_first_start};
use serde_json::json;
use url::Url;

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
};

/// Makes what is missing and shows it once.
pub async fn run(connection: &ConnectionArgs, printer: &Printer) -> Result<(), Failure> {
    let services = FirstStartServices {
        identity: connection.connect_to_identity()?,
        registry: connection.connect_to_registry()?,
    };
    let made = prepare_first_start(services, SystemClock.now()).await?;
    let Some(FirstStart { key, link }) = made else {
        let text = "somebody was here before: `bowline users list` shows the people, and `bowline keys create --user NAME` makes a key";
        return Err(Failure::new(FailureKind::Refused, text));
    };
    // Identity names the public URL in its links.
    let url = Url::parse(&link).map_or_else(
        |_| "URL".to_owned(),
        |link| link.origin().ascii_serialization(),
    );
    let text = format!(
        "Join a machine:\n\n  tailscale up --login-server={url} --auth-key={key}\n\n\
         If the gateways' certificate is one of the deployment's own, copy its ca.pem to the machine first, and let \
         tailscaled start with SSL_CERT_FILE=PATH/ca.pem.\n\n\
         The key works for 24 hours, for any number of machines. More: bowline keys create --help\n\n\
         See your devices in a browser, once by this link: {link}"
    );
    printer.print_result(&json!({ "url": url, "key": key, "link": link }), &text);
    Ok(())
}
