use x25519_dalek::{PublicKey, StaticSecret};

use super::*;

/// Returns a side's key pair with these private bytes.
fn pair(private: [u8; LENGTH]) -> Box<dyn Dh> {
    let resolver = new_resolver();
    let pair = resolver.resolve_dh(&DHChoice::Curve25519);
    let mut pair = pair.expect("it resolves X25519");
    pair.set(&private);
    pair
}

#[test]
fn keys_and_products_are_those_of_another_implementation() {
    for number in 0..=255 {
        let (own, other) = ([number; LENGTH], [!number; LENGTH]);
        let pair = pair(own);
        let secret = StaticSecret::from(own);
        assert_eq!(pair.pubkey(), PublicKey::from(&secret).as_bytes());
        assert_eq!(pair.privkey(), own);
        let public = PublicKey::from(&StaticSecret::from(other));
        let mut product = [0; LENGTH];
        pair.dh(public.as_bytes(), &mut product).expect("a product");
        assert_eq!(&product, secret.diffie_hellman(&public).as_bytes());
    }
}

#[test]
fn generated_keys_differ_and_agree() {
    let resolver = new_resolver();
    let mut rng = resolver.resolve_rng().expect("the system's");
    let [mut one, mut two] = [pair([1; LENGTH]), pair([1; LENGTH])];
    one.generate(&mut *rng).expect("a key");
    two.generate(&mut *rng).expect("another");
    assert_ne!(one.pubkey(), two.pubkey());
    let mut products = [[0; LENGTH]; 2];
    one.dh(two.pubkey(), &mut products[0]).expect("a product");
    two.dh(one.pubkey(), &mut products[1]).expect("the same");
    assert_eq!(products[0], products[1]);
}

#[test]
fn public_key_of_low_order_gives_no_product() {
    let mut product = [7; LENGTH];
    let refused = pair([1; LENGTH]).dh(&[0; LENGTH], &mut product);
    assert!(matches!(refused, Err(Error::Dh)));
    let short = pair([1; LENGTH]).dh(&[1; LENGTH - 1], &mut product);
    assert!(matches!(short, Err(Error::Dh)));
}
