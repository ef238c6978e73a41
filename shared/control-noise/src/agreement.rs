//! X25519 by assembler: a handshake is four products of it, which is most of what a connection costs the server.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use snow::{
    Error,
    params::{CipherChoice, DHChoice, HashChoice},
    resolvers::{BoxedCryptoResolver, CryptoResolver, DefaultResolver, FallbackResolver},
    types::{Cipher, Dh, Hash, Random},
};
use zeroize::Zeroizing;

const LENGTH: usize = 32;

/// Returns what resolves the primitives of a handshake: this X25519, and the library's own for all else.
pub(crate) fn new_resolver() -> BoxedCryptoResolver {
    let fallback = Box::new(DefaultResolver);
    Box::new(FallbackResolver::new(Box::new(AgreementResolver), fallback))
}

/// Resolves X25519 alone.
struct AgreementResolver;

impl CryptoResolver for AgreementResolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        None
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::<KeyAgreement>::default() as _)
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        None
    }

    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        None
    }
}

/// One side's key pair.
#[derive(Default)]
struct KeyAgreement {
    private: Zeroizing<[u8; LENGTH]>,
    public: [u8; LENGTH],
    /// The private key as the library works with it; `None` until it is set.
    key: Option<PrivateKey>,
}

impl Dh for KeyAgreement {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        LENGTH
    }

    fn priv_len(&self) -> usize {
        LENGTH
    }

    fn set(&mut self, privkey: &[u8]) {
        self.key = None;
        let Ok(private) = privkey.try_into() else {
            return;
        };
        self.private = Zeroizing::new(private);
        let Ok(key) = PrivateKey::from_private_key(&X25519, privkey) else {
            return;
        };
        let public = key.compute_public_key().ok();
        let public = public.and_then(|public| public.as_ref().try_into().ok());
        if let Some(public) = public {
            self.public = public;
            self.key = Some(key);
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut private = Zeroizing::new([0; LENGTH]);
        rng.try_fill_bytes(&mut *private)?;
        self.set(&*private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.private
    }

    /// Fails also where the public key is of low order: the product is zero then.
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let key = self.key.as_ref().ok_or(Error::Dh)?;
        let public = pubkey.get(..LENGTH).ok_or(Error::Dh)?;
        let public = UnparsedPublicKey::new(&X25519, public);
        agree(key, public, Error::Dh, |product| {
            let out = out.get_mut(..product.len()).ok_or(Error::Dh)?;
            out.copy_from_slice(product);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
