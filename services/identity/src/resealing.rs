//! Seals again what an older key has sealed, so that the older key can be retired.

use bowline_db::Database;
use bowline_sealing::SealingKeys;

use crate::{
    connections::{Connections, secret_place},
    error::IdentityError,
    login_attempts::passkey_place,
    passkeys::ceremony_place,
    saml,
    secrets::{answer_place, id_token_place, place, refresh_token_place, tokens_place},
    store::{
        self,
        sealed::{SealedCell, SealedColumn},
    },
    webhooks,
};

/// How many secrets one transaction seals again.
const MOST_AT_ONCE: i64 = 200;

/// A column of secrets, and for which places one of them may be sealed.
struct SealedSecrets {
    column: SealedColumn,
    places: fn(&SealedCell) -> Vec<String>,
}

const fn secrets_of(
    table: &'static str,
    name: &'static str,
    places: fn(&SealedCell) -> Vec<String>,
) -> SealedSecrets {
    let column = SealedColumn {
        table,
        name,
        number: "",
        id: "id",
    };
    SealedSecrets { column, places }
}

/// What people's logins have sealed.
const OF_LOGINS: [SealedSecrets; 5] = [
    SealedSecrets {
        column: SealedColumn {
            table: "provider_refreshes",
            name: "sealed_token",
            number: "connection_id",
            id: "subject",
        },
        places: |cell| vec![refresh_token_place(cell.number.cast_unsigned(), &cell.id)],
    },
    secrets_of("sessions", "id_token", |cell| {
        vec![id_token_place(&cell.id)]
    }),
    secrets_of("sessions", "ceremony", |cell| {
        vec![ceremony_place(&cell.id)]
    }),
    secrets_of("login_attempts", "sealed", |cell| {
        vec![place(&cell.id), passkey_place(&cell.id)]
    }),
    secrets_of("login_attempts", "answer", |cell| {
        vec![answer_place(&cell.id), tokens_place(&cell.id)]
    }),
];

/// What events for webhooks are signed with.
const OF_WEBHOOKS: [SealedSecrets; 2] = [
    secrets_of_webhooks("sealed_secret"),
    secrets_of_webhooks("sealed_old_secret"),
];

const fn secrets_of_webhooks(name: &'static str) -> SealedSecrets {
    SealedSecrets {
        column: SealedColumn {
            table: "webhooks",
            name,
            number: "",
            id: "CAST(id AS TEXT)",
        },
        places: |cell| vec![webhooks::secret_place(&cell.id)],
    }
}

impl Connections {
    /// Seals again what an older key has sealed. Returns how many secrets. While a key is prepared nothing is: another replica
    /// may use it already, and what it has sealed stays.
    pub(crate) async fn reseal_secrets(&self) -> Result<usize, IdentityError> {
        let Ok(keys) = self.sealing_keys() else {
            return Ok(0);
        };
        if keys.has_prepared() {
            return Ok(0);
        }
        let mut resealed = self.reseal_own_secrets().await?;
        for secrets in OF_LOGINS.iter().chain(&OF_WEBHOOKS) {
            resealed += reseal_column(self.log.database(), keys, secrets).await?;
        }
        Ok(resealed)
    }

    /// Seals again what belongs to connections themselves.
    async fn reseal_own_secrets(&self) -> Result<usize, IdentityError> {
        let keys = self.sealing_keys()?.clone();
        let resealed = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                let mut secrets = store::connections::list_sealed_secrets(on).await?;
                secrets.retain(|secret| !keys.is_sealed_by_active(&secret.sealed));
                let mut resealed = 0;
                for secret in secrets {
                    let place = secret_place(secret.connection_id);
                    match keys.open(&place, &secret.sealed) {
                        Ok(opened) => {
                            let sealed = keys.seal(&place, &opened);
                            store::connections::replace_sealed_secret(on, &secret, sealed).await?;
                            resealed += 1;
                        }
                        Err(error) => {
                            let connection = secret.connection_id;
                            tracing::error!(%error, connection, "the secret of a connection can not be opened: set it again");
                        }
                    }
                }
                resealed += saml::reseal_keys(&keys, write).await?;
                Ok::<_, IdentityError>(resealed)
            })
        });
        resealed.await
    }
}

/// Seals a column's secrets again, a few in each transaction. What can not be opened is left as it is: its login is begun anew.
async fn reseal_column(
    database: &Database,
    keys: &SealingKeys,
    secrets: &SealedSecrets,
) -> Result<usize, IdentityError> {
    let (mark, column) = (keys.active_mark(), secrets.column);
    let (mut resealed, mut left_out) = (0, 0);
    loop {
        let mut connection = database.reader().acquire().await?;
        let list = store::sealed::list_cells_without_mark;
        let cells = list(&mut connection, column, &mark, left_out, MOST_AT_ONCE).await?;
        drop(connection);
        if cells.is_empty() {
            return Ok(resealed);
        }
        let mut replacements = Vec::with_capacity(cells.len());
        for cell in cells {
            match reseal_cell(keys, &(secrets.places)(&cell), &cell.sealed) {
                Some(sealed) => replacements.push((cell, sealed)),
                None => left_out += 1,
            }
        }
        let replaced = database.write(|write| {
            Box::pin(async move {
                let mut replaced = 0_usize;
                for (cell, sealed) in &replacements {
                    let on = write.connection();
                    let replace = store::sealed::replace_cell;
                    if replace(on, column, cell, sealed.clone()).await? {
                        replaced += 1;
                    }
                }
                Ok::<_, IdentityError>(replaced)
            })
        });
        resealed += replaced.await?;
    }
}

fn reseal_cell(keys: &SealingKeys, places: &[String], sealed: &[u8]) -> Option<Vec<u8>> {
    places.iter().find_map(|place| {
        let opened = keys.open(place, sealed).ok()?;
        Some(keys.seal(place, &opened))
    })
}
