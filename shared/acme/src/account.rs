//! The account at the authority: made once, and kept.

use instant_acme::{Account, AccountCredentials, Error, NewAccount};
use serde::{Deserialize, Serialize};

use crate::{AcmePlan, StoreError, client::AuthorityClient, store::AcmeStore};

/// The account as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    contact: Option<String>,
    credentials: AccountCredentials,
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Acme(#[from] Error),
}

/// Returns the account, made where there is none, with the contact of the settings.
pub(crate) async fn load_or_make_account(
    plan: &AcmePlan,
    store: &AcmeStore,
    client: &AuthorityClient,
) -> Result<Account, AccountError> {
    let contact = plan.contact.as_ref().map(|mail| format!("mailto:{mail}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let Some(kept) = store.read_account()? else {
        let new = NewAccount {
            contact: &contact,
            // There is no plan without it.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let url = plan.directory_url.clone();
        let (account, credentials) = builder.create(&new, url, None).await?;
        keep(plan, store, credentials)?;
        return Ok(account);
    };
    let kept: KeptAccount = serde_json::from_str(&kept).map_err(unreadable(store))?;
    let KeptAccount {
        contact: known,
        credentials,
    } = kept;
    // What is kept can not be copied: it is read a second time where it changes.
    let again = serde_json::to_value(&credentials).map_err(unreadable(store))?;
    let account = builder.from_credentials(credentials).await?;
    if known != plan.contact {
        account.update_contacts(&contact).await?;
        let again = serde_json::from_value(again).map_err(unreadable(store))?;
        keep(plan, store, again)?;
    }
    Ok(account)
}

fn keep(
    plan: &AcmePlan,
    store: &AcmeStore,
    credentials: AccountCredentials,
) -> Result<(), AccountError> {
    let kept = KeptAccount {
        contact: plan.contact.clone(),
        credentials,
    };
    let text = serde_json::to_string_pretty(&kept).map_err(unreadable(store))?;
    Ok(store.write_account(&text)?)
}

fn unreadable(store: &AcmeStore) -> impl Fn(serde_json::Error) -> StoreError {
    let path = store.account_file();
    move |error| StoreError::Text {
        path: path.clone(),
        problem: error.to_string(),
    }
}
