//! Points that make every shared secret zero.

/// The u-coordinates of order 1, 2, 4 and 8 on Curve25519 and its twist, with the encodings that are not reduced.
const LOW_ORDER: [[u8; 32]; 7] = {
    let mut points = [[0; 32]; 7];
    points[1][0] = 1;
    points[2] = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ];
    points[3] = [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ];
    let mut around = 4;
    while around < 7 {
        points[around] = [0xff; 32];
        points[around][0] = 0xe8 + around as u8;
        points[around][31] = 0x7f;
        around += 1;
    }
    points
};

/// Says whether a public key makes every shared secret zero: such a key proves nothing and is refused
/// (RFC 7748 section 6.1).
#[must_use]
pub fn is_low_order(public: &[u8; 32]) -> bool {
    let mut masked = *public;
    masked[31] &= 0x7f;
    LOW_ORDER.contains(&masked)
}

#[cfg(test)]
mod tests {
    use x25519_dalek::{PublicKey, StaticSecret};

    use super::*;

    #[test]
    fn exactly_the_listed_points_make_a_zero_secret() {
        let secret = StaticSecret::from([0x42; 32]);
        for point in LOW_ORDER {
            for high_bit in [0, 0x80] {
                let mut point = point;
                point[31] |= high_bit;
                let shared = secret.diffie_hellman(&PublicKey::from(point));
                assert!(
                    !shared.was_contributory() && is_low_order(&point),
                    "{point:02x?}"
                );
            }
        }
        let honest = PublicKey::from(&StaticSecret::from([7; 32])).to_bytes();
        assert!(!is_low_order(&honest));
    }
}
