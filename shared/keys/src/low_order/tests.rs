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
