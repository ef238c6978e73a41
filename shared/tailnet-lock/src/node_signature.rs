//! Signatures that bind a node key to a trusted key.
//!
//! ```text
//! direct:     a trusted key signs a node key, and says which key may rotate it (the node's own lock key)
//! rotation:   that key signs the next node key; the signature before it is inside
//! credential: a trusted key signs a key that comes with a pre-auth key, and that may sign one rotation
//! ```

use crate::{
    cbor::{CborReader, CborWriter, require_canonical, when},
    error::{LockFormatError, NodeSignatureError},
    hash::hash_bytes,
    key::KeyId,
    state::LockState,
    verify::{is_signed_by_rotation, is_signed_by_trusted},
};

/// How deep signatures are nested at most.
const MOST_LEVELS: usize = 16;
/// More than sixteen of them have.
const MOST_BYTES: usize = 8 << 10;
/// What stands before the 32 bytes of a node key.
const NODE_KEY_PREFIX: &[u8; 2] = b"np";

/// A signature of a node key, read, and not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeKeySignature {
    /// What it is.
    pub kind: NodeSignatureKind,
    /// The node key; none in a credential.
    pub node_key: Option<[u8; 32]>,
    /// The trusted key that made it; none in a rotation.
    pub signer: Option<KeyId>,
    /// Ed25519.
    pub signature: Option<[u8; 64]>,
    /// What a rotation replaces.
    pub nested: Option<Box<NodeKeySignature>>,
    /// Who may sign what this one is put into.
    pub wrapping_key: Option<[u8; 32]>,
}

/// What a signature of a node key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeSignatureKind {
    /// A trusted key signs a node key.
    Direct,
    /// The node's own lock key signs the next node key.
    Rotation,
    /// A trusted key signs the key that comes with a pre-auth key.
    Credential,
}

/// What a good signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeKeyAuthorization {
    /// The trusted key on which all rests.
    pub signer: KeyId,
    /// For a rotation: what it replaces.
    pub rotation: Option<RotationDetails>,
}

/// What a rotation replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationDetails {
    /// The node keys before, newest first. Clients show no node with one of them.
    pub former_keys: Vec<[u8; 32]>,
    /// Whether it began with a direct signature or a credential.
    pub first_kind: NodeSignatureKind,
    /// Who could rotate the first one. Of nodes with one such key, and a direct signature first, clients show the one with
    /// most former keys alone.
    pub first_wrapping_key: Option<[u8; 32]>,
}

impl NodeSignatureKind {
    fn number(self) -> u64 {
        match self {
            Self::Direct => 1,
            Self::Rotation => 2,
            Self::Credential => 3,
        }
    }
}

impl NodeKeySignature {
    /// Reads a signature.
    ///
    /// # Errors
    ///
    /// It is not in canonical form, or nested too deep.
    pub fn decode(bytes: &[u8]) -> Result<Self, LockFormatError> {
        let (length, most) = (bytes.len(), MOST_BYTES);
        if length > most {
            return Err(LockFormatError::TooLong { length, most });
        }
        let mut reader = CborReader::new(bytes);
        let signature = Self::read(&mut reader, 1)?;
        reader.finish()?;
        require_canonical(bytes, &signature.encode())?;
        Ok(signature)
    }

    /// Writes it in its canonical form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = CborWriter::default();
        self.write(&mut writer, self.signature.as_ref());
        writer.into_bytes()
    }

    /// The hash that is signed: of everything but the signature.
    #[must_use]
    pub fn signed_hash(&self) -> [u8; 32] {
        let mut writer = CborWriter::default();
        self.write(&mut writer, None);
        hash_bytes(&writer.into_bytes())
    }

    /// The key that may sign what this one is put into. It is true only of a signature that was checked.
    #[must_use]
    pub fn wrapping_key(&self) -> Option<[u8; 32]> {
        let inherited = || match self.kind {
            NodeSignatureKind::Rotation => self.nested.as_ref()?.wrapping_key(),
            _ => None,
        };
        self.wrapping_key.or_else(inherited)
    }

    /// The trusted key on which all rests. It is true only of a signature that was checked.
    #[must_use]
    pub fn authorizing_key(&self) -> Option<KeyId> {
        match self.kind {
            NodeSignatureKind::Rotation => self.nested.as_ref()?.authorizing_key(),
            _ => self.signer,
        }
    }

    /// Checks that the signature authorises a node key, by a key that is trusted.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn authorize(
        &self,
        node_key: &[u8; 32],
        state: &LockState,
    ) -> Result<NodeKeyAuthorization, NodeSignatureError> {
        if self.kind == NodeSignatureKind::Credential {
            return Err(NodeSignatureError::Credential);
        }
        let signer = self.authorizing_key().ok_or(NodeSignatureError::NoSigner)?;
        if state.find_key(&signer).is_none() {
            return Err(NodeSignatureError::UntrustedSigner);
        }
        self.check(Some(node_key), &signer)?;
        let rotation = self.rotation_details();
        Ok(NodeKeyAuthorization { signer, rotation })
    }

    fn check(&self, node_key: Option<&[u8; 32]>, signer: &KeyId) -> Result<(), NodeSignatureError> {
        let is_credential = self.kind == NodeSignatureKind::Credential;
        if !is_credential && (node_key.is_none() || self.node_key.as_ref() != node_key) {
            return Err(NodeSignatureError::OtherNodeKey);
        }
        let signature = self.signature.ok_or(NodeSignatureError::BadSignature)?;
        let hash = self.signed_hash();
        if self.kind != NodeSignatureKind::Rotation {
            if self.nested.is_some() {
                return Err(NodeSignatureError::Nested);
            }
            return match is_signed_by_trusted(signer, &hash, &signature) {
                true => Ok(()),
                false => Err(NodeSignatureError::BadSignature),
            };
        }
        let nested = self.nested.as_ref();
        let nested = nested.ok_or(NodeSignatureError::NothingNested)?;
        let key = nested.wrapping_key();
        let key = key.ok_or(NodeSignatureError::NoRotationKey)?;
        if !is_signed_by_rotation(&key, &hash, &signature) {
            return Err(NodeSignatureError::BadSignature);
        }
        nested.check(nested.node_key.as_ref(), signer)
    }

    /// What a rotation replaces; `None` for another kind. It is true only of a signature that was checked.
    #[must_use]
    pub fn rotation_details(&self) -> Option<RotationDetails> {
        let mut first = self.nested.as_ref()?;
        let mut former_keys = Vec::new();
        loop {
            former_keys.extend(first.node_key);
            match &first.nested {
                Some(nested) => first = nested,
                None => break,
            }
        }
        Some(RotationDetails {
            former_keys,
            first_kind: first.kind,
            first_wrapping_key: first.wrapping_key,
        })
    }

    fn read(reader: &mut CborReader<'_>, level: usize) -> Result<Self, LockFormatError> {
        if level > MOST_LEVELS {
            return Err(LockFormatError::TooDeep(MOST_LEVELS));
        }
        let mut kind = None;
        let (mut node_key, mut signer, mut signature) = (None, None, None);
        let (mut nested, mut wrapping_key) = (None, None);
        for _ in 0..reader.read_map()? {
            match reader.read_number()? {
                1 => kind = Some(read_kind(reader)?),
                2 => node_key = Some(read_node_key(reader)?),
                3 => signer = Some(reader.read_array("the key id")?),
                4 => signature = Some(reader.read_array("the signature")?),
                5 => nested = Some(Box::new(Self::read(reader, level + 1)?)),
                6 => wrapping_key = Some(reader.read_array("the rotation key")?),
                other => return Err(LockFormatError::UnknownMember(other)),
            }
        }
        Ok(Self {
            kind: kind.ok_or(LockFormatError::NotCanonical)?,
            node_key,
            signer,
            signature,
            nested,
            wrapping_key,
        })
    }

    fn write(&self, writer: &mut CborWriter, signature: Option<&[u8; 64]>) {
        let write = |writer: &mut CborWriter, bytes: Option<&[u8]>| {
            writer.write_bytes(bytes.unwrap_or_default());
        };
        let write_node_key = |writer: &mut CborWriter| {
            let key = self.node_key.unwrap_or_default();
            writer.write_bytes(&[&NODE_KEY_PREFIX[..], &key].concat());
        };
        let write_signer =
            |writer: &mut CborWriter| write(writer, self.signer.as_ref().map(|key| &key[..]));
        let write_signature =
            |writer: &mut CborWriter| write(writer, signature.map(|bytes| &bytes[..]));
        let write_nested = |writer: &mut CborWriter| {
            if let Some(nested) = &self.nested {
                nested.write(writer, nested.signature.as_ref());
            }
        };
        let write_wrapping =
            |writer: &mut CborWriter| write(writer, self.wrapping_key.as_ref().map(|key| &key[..]));
        writer.write_members(&[
            (1, Some(&|writer| writer.write_number(self.kind.number()))),
            (2, when(self.node_key.is_some(), &write_node_key)),
            (3, when(self.signer.is_some(), &write_signer)),
            (4, when(signature.is_some(), &write_signature)),
            (5, when(self.nested.is_some(), &write_nested)),
            (6, when(self.wrapping_key.is_some(), &write_wrapping)),
        ]);
    }
}

fn read_kind(reader: &mut CborReader<'_>) -> Result<NodeSignatureKind, LockFormatError> {
    let field = "the kind of the signature";
    match reader.read_number()? {
        1 => Ok(NodeSignatureKind::Direct),
        2 => Ok(NodeSignatureKind::Rotation),
        3 => Ok(NodeSignatureKind::Credential),
        found => Err(LockFormatError::Range { field, found }),
    }
}

fn read_node_key(reader: &mut CborReader<'_>) -> Result<[u8; 32], LockFormatError> {
    let field = "the node key";
    let bytes: [u8; 34] = reader.read_array(field)?;
    let (prefix, key) = bytes.split_at(NODE_KEY_PREFIX.len());
    if prefix != NODE_KEY_PREFIX {
        let found = bytes[0].into();
        return Err(LockFormatError::Range { field, found });
    }
    let mut node_key = [0; 32];
    node_key.copy_from_slice(key);
    Ok(node_key)
}
