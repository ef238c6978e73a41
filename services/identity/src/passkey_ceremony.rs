//! What browsers and passkeys are asked, and whether their answers are right (Web Authentication, Level 3). Pure but for the
//! random challenge, which the library draws.

use bowline_sealing::SealingKeys;
use url::{Host, Url};
use webauthn_rs::prelude::{
    CreationChallengeResponse, DiscoverableAuthentication, DiscoverableKey, Passkey as Credential,
    PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Uuid, Webauthn,
    WebauthnBuilder,
};
use webauthn_rs_proto::ResidentKeyRequirement;

use crate::{domain::person::refused, error::IdentityError, store::passkeys::PasskeyRow};

/// What a browser is asked, and what is kept until it answers, sealed.
pub(crate) struct BegunCeremony {
    /// The options for `navigator.credentials`, as JSON.
    pub(crate) options: String,
    /// What the answer is checked against.
    pub(crate) sealed: Vec<u8>,
}

/// The server as passkeys know it: by the host name of the portal.
pub(crate) struct PasskeyServer {
    library: Webauthn,
}

impl PasskeyServer {
    /// Returns the server that browsers reach by an origin.
    ///
    /// # Errors
    ///
    /// Where the origin is an address or has no TLS: browsers make no passkeys there.
    pub(crate) fn new(origin: &str) -> Result<Self, IdentityError> {
        let unfit = || {
            refused(
                "Passkeys need a host name with a certificate that this browser trusts: browsers make none for an \
                 address such as 192.0.2.1, and none without TLS.",
            )
        };
        let url = Url::parse(origin).map_err(|_| unfit())?;
        let Some(Host::Domain(name)) = url.host() else {
            return Err(unfit());
        };
        let is_local = name == "localhost";
        if url.scheme() != "https" && !is_local {
            return Err(unfit());
        }
        let builder = WebauthnBuilder::new(name, &url).map_err(|_| unfit())?;
        let library = builder.rp_name("Bowline").build().map_err(|_| unfit())?;
        Ok(Self { library })
    }

    /// Asks for a new passkey of a user, who has others already.
    pub(crate) fn begin_registration(
        &self,
        keys: &SealingKeys,
        place: &str,
        user: &bowline_proto::identity::v1::User,
        known: &[PasskeyRow],
    ) -> Result<BegunCeremony, IdentityError> {
        let known = known.iter().map(|row| row.credential_id.clone()).collect();
        let shown = match user.display_name.as_str() {
            "" => &user.login_name,
            name => name,
        };
        let handle = user_handle(user.tailnet_id, user.id);
        let begun =
            self.library
                .start_passkey_registration(handle, &user.login_name, shown, Some(known));
        let (mut asked, state) = begun.map_err(|error| refuse_answer(&error))?;
        require_discoverable(&mut asked);
        Ok(BegunCeremony {
            options: to_json(&asked.public_key)?,
            sealed: keys.seal(place, to_json(&state)?.as_bytes()),
        })
    }

    /// Returns the passkey that a browser has made, as it is kept: its id and its public key.
    pub(crate) fn finish_registration(
        &self,
        keys: &SealingKeys,
        place: &str,
        sealed: &[u8],
        answer: &str,
    ) -> Result<(Vec<u8>, String), IdentityError> {
        let state: PasskeyRegistration = open_state(keys, place, sealed)?;
        let answer: RegisterPublicKeyCredential = read_answer(answer)?;
        let made = self.library.finish_passkey_registration(&answer, &state);
        let made = made.map_err(|error| refuse_answer(&error))?;
        Ok((made.cred_id().to_vec(), to_json(&made)?))
    }

    /// Asks for any passkey of this server: which one, and so who the person is, the browser says.
    pub(crate) fn begin_login(
        &self,
        keys: &SealingKeys,
        place: &str,
    ) -> Result<BegunCeremony, IdentityError> {
        let begun = self.library.start_discoverable_authentication();
        let (asked, state) = begun.map_err(|error| refuse_answer(&error))?;
        Ok(BegunCeremony {
            options: to_json(&asked.public_key)?,
            sealed: keys.seal(place, to_json(&state)?.as_bytes()),
        })
    }

    /// Checks that a browser's answer was made by a passkey. Returns the passkey as it is to be kept: its counter has grown.
    pub(crate) fn finish_login(
        &self,
        keys: &SealingKeys,
        place: &str,
        sealed: &[u8],
        answer: &PasskeyAnswer,
        kept: &PasskeyRow,
    ) -> Result<String, IdentityError> {
        let state: DiscoverableAuthentication = open_state(keys, place, sealed)?;
        let mut credential: Credential = serde_json::from_str(&kept.credential)
            .map_err(|_| refused("This passkey can not be read. Ask an administrator."))?;
        let handle = user_handle(kept.passkey.tailnet_id, kept.passkey.user_id);
        let named = self
            .library
            .identify_discoverable_authentication(&answer.0)
            .map_err(|error| refuse_answer(&error))?;
        if named.0 != handle {
            return Err(refused("This passkey is not this person's."));
        }
        let result = self.library.finish_discoverable_authentication_v2(
            &answer.0,
            state,
            DiscoverableKey::from(&credential),
        );
        let result = result.map_err(|error| refuse_answer(&error))?;
        credential.update_credential(&result);
        to_json(&credential)
    }
}

/// What a browser answers for a login.
pub(crate) struct PasskeyAnswer(PublicKeyCredential);

impl PasskeyAnswer {
    /// Reads an AuthenticationResponseJSON.
    pub(crate) fn parse(text: &str) -> Result<Self, IdentityError> {
        read_answer(text).map(Self)
    }

    /// Returns which passkey it says it is of.
    pub(crate) fn credential_id(&self) -> &[u8] {
        self.0.get_credential_id()
    }
}

/// Returns what passkeys name a user by: no name, since it is kept on devices.
fn user_handle(tailnet_id: u64, user_id: u64) -> Uuid {
    Uuid::from_u64_pair(tailnet_id, user_id)
}

/// A login names nobody, so the passkey itself has to know whose it is.
fn require_discoverable(asked: &mut CreationChallengeResponse) {
    if let Some(wanted) = &mut asked.public_key.authenticator_selection {
        wanted.resident_key = Some(ResidentKeyRequirement::Required);
        wanted.require_resident_key = true;
    }
}

fn read_answer<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, IdentityError> {
    serde_json::from_str(text)
        .map_err(|_| refused("What the browser sent is no answer of a passkey. Try again."))
}

fn open_state<T: serde::de::DeserializeOwned>(
    keys: &SealingKeys,
    place: &str,
    sealed: &[u8],
) -> Result<T, IdentityError> {
    let opened = keys
        .open(place, sealed)
        .map_err(|error| IdentityError::Sealed("the passkey's challenge".to_owned(), error))?;
    serde_json::from_slice(&opened).map_err(|_| refused("This page is too old. Try again."))
}

fn to_json(value: &impl serde::Serialize) -> Result<String, IdentityError> {
    serde_json::to_string(value).map_err(|_| refused("The passkey can not be written. Try again."))
}

fn refuse_answer(error: &webauthn_rs::prelude::WebauthnError) -> IdentityError {
    tracing::info!(%error, "a passkey is refused");
    refused("The passkey was not accepted. Try again, or use another way to log in.")
}
