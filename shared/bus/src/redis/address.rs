//! Where Redis is: at an address, or where sentinels say.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo as _, ProtocolVersion, RedisError, RedisResult,
};

/// How long a sentinel may take to answer before the next is asked.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Where Redis is.
#[derive(Clone, Debug)]
pub(super) enum RedisAddress {
    /// At a fixed address.
    Fixed(Client),
    /// Where sentinels say that the master is, each time it is connected to.
    Sentinels {
        /// The sentinels, asked in this order.
        sentinels: Vec<Client>,
        /// What they call the master.
        master: String,
        /// How the master is connected to, but for its address.
        template: ConnectionInfo,
    },
}

impl RedisAddress {
    /// Reads `redis://…`, `rediss://…`, `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/MASTER` or
    /// `rediss+sentinel://…`. User and password are the master's; sentinels are asked without.
    pub(super) fn parse(url: &str) -> RedisResult<Self> {
        let Some((scheme, rest)) = url.split_once("+sentinel://") else {
            return Ok(Self::Fixed(open_client(url.into_connection_info()?)?));
        };
        let invalid =
            |detail: &'static str| RedisError::from((ErrorKind::InvalidClientConfig, detail));
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (format!("{credentials}@"), rest),
            None => (String::new(), rest),
        };
        let (hosts, master) = rest
            .split_once('/')
            .filter(|(_, master)| !master.is_empty())
            .ok_or_else(|| {
                invalid("the name of the master is missing behind the sentinels: …/MASTER")
            })?;
        let mut sentinels = Vec::new();
        for host in hosts.split(',') {
            let info = format!("{scheme}://{host}").into_connection_info()?;
            sentinels.push(open_client(info)?);
        }
        let first = hosts.split(',').next().unwrap_or_default();
        let template = format!("{scheme}://{credentials}{first}").into_connection_info()?;
        Ok(Self::Sentinels {
            sentinels,
            master: master.to_owned(),
            template,
        })
    }

    /// Returns what connects to Redis, where it is now.
    pub(super) async fn find_server(&self) -> RedisResult<Client> {
        let (sentinels, master, template) = match self {
            Self::Fixed(client) => return Ok(client.clone()),
            Self::Sentinels {
                sentinels,
                master,
                template,
            } => (sentinels, master, template),
        };
        let mut last = None;
        for sentinel in sentinels {
            match ask_sentinel(sentinel, master).await {
                Ok(Some((host, port))) => {
                    let address = match template.addr() {
                        ConnectionAddr::TcpTls {
                            insecure,
                            tls_params,
                            ..
                        } => ConnectionAddr::TcpTls {
                            host,
                            port,
                            insecure: *insecure,
                            tls_params: tls_params.clone(),
                        },
                        _ => ConnectionAddr::Tcp(host, port),
                    };
                    return open_client(template.clone().set_addr(address));
                }
                Ok(None) => {
                    let text = "a sentinel knows no master of this name";
                    last = Some(RedisError::from((ErrorKind::InvalidClientConfig, text)));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            RedisError::from((ErrorKind::InvalidClientConfig, "no sentinel is named"))
        }))
    }
}

/// Returns the host and port of the master, as a sentinel knows it.
async fn ask_sentinel(sentinel: &Client, master: &str) -> RedisResult<Option<(String, u16)>> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(SENTINEL_TIMEOUT))
        .set_response_timeout(Some(SENTINEL_TIMEOUT));
    let mut connection = sentinel
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    redis::cmd("SENTINEL")
        .arg("get-master-addr-by-name")
        .arg(master)
        .query_async(&mut connection)
        .await
}

fn open_client(info: ConnectionInfo) -> RedisResult<Client> {
    // Only RESP3 carries published messages and answers on one connection.
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    // A hint does not wait for the answer to the one before.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    Client::open(info)
}

#[cfg(test)]
mod tests;
