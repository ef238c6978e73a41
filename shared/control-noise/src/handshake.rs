//! The IK handshake, both sides: bytes in, bytes out.

use bowline_keys::{MachinePublic, PrivateKey, is_low_order};
use snow::{Builder, HandshakeState};
use zeroize::ZeroizeOnDrop;

use crate::agreement::new_resolver;

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
const INITIATION: usize = 101;
const RESPONSE: usize = 51;
const TYPE_INITIATION: u8 = 1;
const TYPE_RESPONSE: u8 = 2;
const TYPE_ERROR: u8 = 3;
const LONGEST_TEXT: usize = 1000;

/// Why a handshake fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The message has another length than its kind has.
    #[error("a handshake message of {0} bytes is not expected here")]
    Length(usize),
    /// The header names another kind or length.
    #[error("the handshake message has a wrong header")]
    Header,
    /// No key of the server opens it, or it was changed on the way.
    #[error(
        "the handshake can not be decrypted: the server's key may have changed, restart the client"
    )]
    Decryption,
    /// A public key that makes every shared secret zero.
    #[error("the handshake uses a key of low order")]
    LowOrder,
    /// The server refused; the text is its reason.
    #[error("the server refused: {0}")]
    Refused(String),
}

impl From<snow::Error> for HandshakeError {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Dh => Self::LowOrder,
            _ => Self::Decryption,
        }
    }
}

/// The keys of a finished handshake, one for each direction.
#[derive(ZeroizeOnDrop)]
pub struct Keys {
    /// Encrypts what this side sends.
    pub(crate) send: [u8; 32],
    /// Decrypts what this side receives.
    pub(crate) receive: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keys([redacted])")
    }
}

/// A handshake the server has accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The machine key the client proved.
    pub machine: MachinePublic,
    /// Which of the control keys the client made it for, counted from zero.
    pub control: usize,
    /// The protocol version of the initiation: the client's capability version.
    pub version: u16,
    /// What to send back, before any record.
    pub response: [u8; RESPONSE],
    /// The keys of the records.
    pub keys: Keys,
}

/// The server's side of a handshake.
#[derive(Debug, Default)]
pub struct Responder {
    #[cfg(test)]
    pub(crate) ephemeral: Option<[u8; 32]>,
}

impl Responder {
    /// Accepts an initiation made for one of the control keys, which are tried in order.
    ///
    /// # Errors
    ///
    /// Any [`HandshakeError`] but `Refused`; who the client is stays unknown then.
    pub fn accept<'k>(
        &self,
        initiation: &[u8],
        control: impl IntoIterator<Item = &'k PrivateKey>,
    ) -> Result<Accepted, HandshakeError> {
        let message: &[u8; INITIATION] = initiation
            .try_into()
            .map_err(|_| HandshakeError::Length(initiation.len()))?;
        if message[2..5] != [TYPE_INITIATION, 0, 96] {
            return Err(HandshakeError::Header);
        }
        let mut ephemeral = [0; 32];
        ephemeral.copy_from_slice(&message[5..37]);
        if is_low_order(&ephemeral) {
            return Err(HandshakeError::LowOrder);
        }
        let version = u16::from_be_bytes([message[0], message[1]]);
        let mut result = Err(HandshakeError::Decryption);
        for (index, key) in control.into_iter().enumerate() {
            let accepted = self.accept_with(&message[5..], version, key);
            result = accepted.map(|accepted| Accepted {
                control: index,
                ..accepted
            });
            if !matches!(result, Err(HandshakeError::Decryption)) {
                break;
            }
        }
        result
    }

    fn accept_with(
        &self,
        message: &[u8],
        version: u16,
        control: &PrivateKey,
    ) -> Result<Accepted, HandshakeError> {
        let prologue = prologue(version);
        let builder = noise_builder()?
            .prologue(&prologue)?
            .local_private_key(control.expose_bytes())?;
        #[cfg(test)]
        let builder = match &self.ephemeral {
            Some(ephemeral) => builder.fixed_ephemeral_key_for_testing_only(ephemeral),
            None => builder,
        };
        let mut state = builder.build_responder()?;
        state.read_message(message, &mut [])?;
        let machine = state
            .get_remote_static()
            .ok_or(HandshakeError::Decryption)?;
        let machine = MachinePublic::try_from(machine).map_err(|_| HandshakeError::Header)?;
        if is_low_order(machine.as_bytes()) {
            return Err(HandshakeError::LowOrder);
        }
        let mut response = [0; RESPONSE];
        response[..3].copy_from_slice(&[TYPE_RESPONSE, 0, 48]);
        state.write_message(&[], &mut response[3..])?;
        let (receive, send) = state.dangerously_get_raw_split();
        Ok(Accepted {
            machine,
            control: 0,
            version,
            response,
            keys: Keys { send, receive },
        })
    }
}

/// The client's side of a handshake, for tests and load generators.
#[derive(Debug)]
pub struct Initiator(Box<HandshakeState>);

impl Initiator {
    /// Begins a handshake and returns the initiation to send.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Decryption`] when the control key is not a point.
    pub fn begin(
        machine: &PrivateKey,
        control: MachinePublic,
        version: u16,
    ) -> Result<(Self, [u8; INITIATION]), HandshakeError> {
        Self::begin_from(noise_builder()?, machine, control, version)
    }

    fn begin_from(
        builder: Builder<'_>,
        machine: &PrivateKey,
        control: MachinePublic,
        version: u16,
    ) -> Result<(Self, [u8; INITIATION]), HandshakeError> {
        let prologue = prologue(version);
        let mut state = builder
            .prologue(&prologue)?
            .local_private_key(machine.expose_bytes())?
            .remote_public_key(control.as_bytes())?
            .build_initiator()?;
        let mut message = [0; INITIATION];
        message[..2].copy_from_slice(&version.to_be_bytes());
        message[2..5].copy_from_slice(&[TYPE_INITIATION, 0, 96]);
        state.write_message(&[], &mut message[5..])?;
        Ok((Self(Box::new(state)), message))
    }

    /// Finishes the handshake with the server's 51 bytes.
    ///
    /// # Errors
    ///
    /// A response of another length or kind, or one that can not be decrypted.
    pub fn finish(mut self, response: &[u8]) -> Result<Keys, HandshakeError> {
        if let [TYPE_ERROR, high, low, text @ ..] = response {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let text = text
                .get(..length)
                .ok_or(HandshakeError::Length(response.len()))?;
            let text = String::from_utf8_lossy(text).into_owned();
            return Err(HandshakeError::Refused(text));
        }
        if response.len() != RESPONSE {
            return Err(HandshakeError::Length(response.len()));
        }
        if response[..3] != [TYPE_RESPONSE, 0, 48] {
            return Err(HandshakeError::Header);
        }
        self.0.read_message(&response[3..], &mut [])?;
        let (send, receive) = self.0.dangerously_get_raw_split();
        Ok(Keys { send, receive })
    }
}

/// Returns the error frame that is sent in place of a response, in clear; at most 1000 bytes of the text.
#[must_use]
pub fn error_frame(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.floor_char_boundary(LONGEST_TEXT)];
    let length = u16::try_from(text.len()).unwrap_or(0);
    let mut frame = vec![TYPE_ERROR];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(text);
    frame
}

fn noise_builder() -> Result<Builder<'static>, HandshakeError> {
    PATTERN
        .parse()
        .map(|pattern| Builder::with_resolver(pattern, new_resolver()))
        .map_err(|_| HandshakeError::Header)
}

fn prologue(version: u16) -> Vec<u8> {
    format!("Tailscale Control Protocol v{version}").into_bytes()
}

#[cfg(test)]
mod tests;
