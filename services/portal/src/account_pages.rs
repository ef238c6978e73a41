//! A person's own page, filled in.

use askama::Template;
use axum::{http::StatusCode, response::Response};
use bowline_proto::{
    identity::v1::{Login, Passkey, Session, User},
    key_registry::v1::NodeWithState,
};
use prost_types::Timestamp;

use crate::{
    failure::PageFailure,
    pages::{asked_at_text, person_text, render, time_text},
    session::SignedIn,
    start::Portal,
    texts::{ENGLISH, Texts},
};

/// A device, as its owner sees it.
struct AccountDevice {
    id: u64,
    name: String,
    /// Addresses, one after the other.
    addresses: String,
    system: String,
    state: &'static str,
    rows: Vec<(&'static str, String)>,
    waits: bool,
}

impl AccountDevice {
    fn new(found: &NodeWithState, texts: &Texts) -> Option<Self> {
        let node = found.node.as_ref()?;
        let soft = found.soft.clone().unwrap_or_default();
        let state = match () {
            () if node.denied => texts.denied_by_administrator,
            () if node.disabled => texts.disabled_by_administrator,
            () if !node.approved => texts.waits_for_approval,
            () if node.expired => texts.key_ended,
            () if node.awaits_signature => texts.waits_for_signature,
            () if soft.online => texts.connected,
            () => texts.not_connected,
        };
        let time = |time: Option<Timestamp>| time.as_ref().map_or_else(String::new, time_text);
        let key_end = match &node.key_expiry {
            None => texts.never.to_owned(),
            Some(end) => time_text(end),
        };
        let addresses = [node.ipv4.as_str(), node.ipv6.as_str()];
        let addresses: Vec<_> = addresses
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        let rows = [
            (texts.state, state.to_owned()),
            (texts.addresses, addresses.join(", ")),
            (texts.system, node.os.clone()),
            (texts.client, node.client_version.clone()),
            (texts.device_tags, node.tags.join(", ")),
            (texts.last_seen, time(soft.last_seen)),
            (texts.key_ends, key_end),
            (texts.added_at, time(node.created_at)),
        ];
        Some(Self {
            id: node.id,
            name: node.name.clone(),
            addresses: addresses.join(" "),
            system: node.os.clone(),
            state,
            rows: rows
                .into_iter()
                .filter(|(_, text)| !text.is_empty())
                .collect(),
            waits: !node.approved && !node.denied,
        })
    }
}

/// A passkey, as its owner sees it.
struct AccountPasskey {
    id: String,
    name: String,
    added_at: String,
    last_used_at: String,
}

/// Another session, as its person sees it.
struct AccountSession {
    id: String,
    /// Whether a program has it, or a browser.
    kind: &'static str,
    agent: String,
    source: String,
    began_at: String,
    last_used_at: String,
}

/// A person who waits, as an administrator sees him or her.
struct WaitingPerson {
    id: u64,
    name: String,
    added_at: String,
}

/// A device that waits to be let in, as an administrator sees it.
struct WaitingLogin {
    id: String,
    name: String,
    system: String,
    source: String,
    asked_at: String,
}

impl WaitingLogin {
    fn new(login: &Login, texts: &Texts) -> Self {
        let device = login.device.clone().unwrap_or_default();
        let name = match device.hostname.as_str() {
            "" => texts.nameless_device.to_owned(),
            name => name.to_owned(),
        };
        Self {
            id: login.id.clone(),
            name,
            system: device.os,
            source: device.source_address,
            asked_at: asked_at_text(login),
        }
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    texts: &'a Texts,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    texts: &'a Texts,
    person: String,
    network: &'a str,
    devices: Vec<AccountDevice>,
    waiting: Vec<AccountDevice>,
    logins: Vec<WaitingLogin>,
    people: Vec<WaitingPerson>,
    passkeys: Vec<AccountPasskey>,
    sessions: Vec<AccountSession>,
    has_passkeys: bool,
    /// Why this origin can have no passkeys; empty where it can.
    no_passkeys: &'static str,
    /// Whether the person's role does not count in this session.
    is_limited: bool,
    token: String,
}

#[derive(Template)]
#[template(path = "account_device.html")]
struct DevicePage<'a> {
    texts: &'a Texts,
    device: AccountDevice,
    offers_approval: bool,
    token: String,
}

/// Says how to log in.
pub(crate) fn sign_in_page() -> Response {
    render(StatusCode::OK, &SignInPage { texts: &ENGLISH })
}

/// How a person gets in: passkeys, and sessions that are open elsewhere.
pub(crate) struct OwnWays {
    pub(crate) passkeys: Vec<Passkey>,
    pub(crate) sessions: Vec<Session>,
}

/// What waits for an administrator.
#[derive(Clone, Copy)]
pub(crate) struct WaitingThings<'a> {
    pub(crate) devices: &'a [NodeWithState],
    pub(crate) people: &'a [User],
    pub(crate) logins: &'a [Login],
}

/// Shows a person's devices and passkeys; an administrator also sees the machines and people that wait.
pub(crate) fn account_page(
    portal: &Portal,
    person: &SignedIn,
    devices: &[NodeWithState],
    waits: WaitingThings<'_>,
    own: OwnWays,
) -> Result<Response, PageFailure> {
    let texts = &ENGLISH;
    let user = person.found.user.as_ref().ok_or(PageFailure::NotKnown)?;
    let view = |found: &[NodeWithState]| -> Vec<_> {
        let found = found.iter();
        found
            .filter_map(|found| AccountDevice::new(found, texts))
            .collect()
    };
    let time = |time: Option<Timestamp>| time.as_ref().map_or_else(String::new, time_text);
    let passkeys = own.passkeys.into_iter().map(|passkey| AccountPasskey {
        id: passkey.id,
        name: passkey.name,
        added_at: time(passkey.created_at),
        last_used_at: time(passkey.last_used_at),
    });
    let sessions = own.sessions.into_iter().map(|session| AccountSession {
        id: session.id,
        kind: match session.program {
            true => texts.program,
            false => texts.browser,
        },
        agent: session.user_agent,
        source: session.source_address,
        began_at: time(session.created_at),
        last_used_at: time(session.last_used_at),
    });
    let people = waits.people.iter().map(|user| WaitingPerson {
        id: user.id,
        name: person_text(user),
        added_at: time(user.created_at),
    });
    let logins = waits.logins.iter();
    let logins = logins.map(|login| WaitingLogin::new(login, texts));
    let page = AccountPage {
        texts,
        person: person_text(user),
        network: &person.found.tailnet_name,
        devices: view(devices),
        waiting: view(waits.devices),
        people: people.collect(),
        logins: logins.collect(),
        passkeys: passkeys.collect(),
        sessions: sessions.collect(),
        has_passkeys: person.found.has_passkeys,
        is_limited: person
            .found
            .session
            .as_ref()
            .is_some_and(|session| session.limited),
        no_passkeys: if portal.takes_passkeys {
            ""
        } else {
            texts.passkeys_need_name
        },
        token: person.form_token(),
    };
    Ok(render(StatusCode::OK, &page))
}

/// Shows one device.
pub(crate) fn device_page(
    person: &SignedIn,
    found: &NodeWithState,
) -> Result<Response, PageFailure> {
    let texts = &ENGLISH;
    let device = AccountDevice::new(found, texts).ok_or(PageFailure::NotKnown)?;
    let page = DevicePage {
        texts,
        offers_approval: device.waits && person.administers(),
        device,
        token: person.form_token(),
    };
    Ok(render(StatusCode::OK, &page))
}
