//! Which client: release and kind of network device.

use std::path::PathBuf;

/// Which release of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 1.102.5.
    Current,
    /// 1.62.1: the last that speaks crypto_box.
    Nacl,
}

impl Release {
    /// Returns where its programs are.
    pub(super) fn directory(self) -> PathBuf {
        let peers = std::env::var_os("BOWLINE_PEERS_DIR")
            .map(PathBuf::from)
            .unwrap_or_else(|| {
                let home = std::env::var_os("HOME")
                    .map(PathBuf::from)
                    .unwrap_or_default();
                home.join(".cache/bowline/peers")
            });
        peers.join(match self {
            Self::Current => "1.102.5",
            Self::Nacl => "1.62.1",
        })
    }

    /// Says whether the programs are there.
    #[must_use]
    pub fn is_built(self) -> bool {
        ["tailscaled", "tailscale"]
            .iter()
            .all(|program| self.directory().join(program).is_file())
    }
}

/// How a client meets the programs of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// No device: a network stack inside the client.
    Userspace,
    /// A TUN device of the kernel, as on a real machine; `/dev/net/tun` has to be there.
    Tun,
}

impl Device {
    /// Says whether this machine has what it takes.
    #[must_use]
    pub fn is_available(self) -> bool {
        self == Self::Userspace || std::path::Path::new("/dev/net/tun").exists()
    }
}
