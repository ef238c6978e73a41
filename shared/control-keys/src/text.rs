//! Control keys as one text, for a store of secrets: a line for each key, such as `noise active privkey:…`. Empty lines and those
//! that begin with `#` say nothing.

use bowline_keys::PrivateKey;
use zeroize::Zeroizing;

use crate::{ControlKeyError, ControlKeyState, ControlKeys, ControlTransport, KeyRing};

/// The keys of one transport, as far as they were read.
#[derive(Debug, Default)]
struct PartialRing {
    prepared: Option<PrivateKey>,
    active: Option<PrivateKey>,
    old: Option<PrivateKey>,
}

impl PartialRing {
    fn place(&mut self, state: ControlKeyState) -> &mut Option<PrivateKey> {
        match state {
            ControlKeyState::Prepared => &mut self.prepared,
            ControlKeyState::Active => &mut self.active,
            ControlKeyState::Old => &mut self.old,
        }
    }

    fn complete(self, transport: ControlTransport) -> Result<KeyRing, ControlKeyError> {
        let missing = ControlKeyError::Count("not", ControlKeyState::Active, transport);
        Ok(KeyRing {
            active: self.active.ok_or(missing)?,
            prepared: self.prepared,
            old: self.old,
        })
    }
}

impl ControlKeys {
    /// Reads the text.
    ///
    /// # Errors
    ///
    /// Which line is no key, or which key is missing or there twice.
    pub fn parse(text: &str) -> Result<Self, ControlKeyError> {
        let (mut noise, mut legacy) = (PartialRing::default(), PartialRing::default());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (transport, state, key) =
                parse_line(line).ok_or(ControlKeyError::Line(number + 1))?;
            let ring = match transport {
                ControlTransport::Noise => &mut noise,
                ControlTransport::Legacy => &mut legacy,
            };
            if ring.place(state).replace(key).is_some() {
                return Err(ControlKeyError::Count("more than once", state, transport));
            }
        }
        Ok(Self {
            noise: noise.complete(ControlTransport::Noise)?,
            legacy: legacy.complete(ControlTransport::Legacy)?,
        })
    }

    /// Returns the text.
    #[must_use]
    pub fn expose_text(&self) -> Zeroizing<String> {
        // Room for all of it at once: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(1024));
        for transport in ControlTransport::ALL {
            for (state, key) in self.ring(transport).with_states() {
                for part in [transport.as_str(), " ", state.as_str(), " "] {
                    text.push_str(part);
                }
                text.push_str(&key.expose_text());
                text.push('\n');
            }
        }
        text
    }
}

fn parse_line(line: &str) -> Option<(ControlTransport, ControlKeyState, PrivateKey)> {
    let mut words = line.split_whitespace();
    let (transport, state, key) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let mut transports = ControlTransport::ALL.into_iter();
    let transport = transports.find(|one| one.as_str() == transport)?;
    let states = [
        ControlKeyState::Prepared,
        ControlKeyState::Active,
        ControlKeyState::Old,
    ];
    let state = states.into_iter().find(|one| one.as_str() == state)?;
    Some((transport, state, key.parse().ok()?))
}

#[cfg(test)]
mod tests;
