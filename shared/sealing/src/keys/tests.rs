use super::*;

#[test]
fn sealed_secret_opens_in_its_place_only() {
    let keys = SealingKeys::generate();
    let sealed = keys.seal("connections/7", b"secret");
    assert_eq!(&*keys.open("connections/7", &sealed).unwrap(), b"secret");
    assert!(keys.open("connections/8", &sealed).is_err());
    assert!(
        SealingKeys::generate()
            .open("connections/7", &sealed)
            .is_err()
    );
    for position in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[position] ^= 1;
        assert!(
            keys.open("connections/7", &damaged).is_err(),
            "byte {position}"
        );
        assert!(keys.open("connections/7", &sealed[..position]).is_err());
    }
    assert_ne!(
        sealed,
        keys.seal("connections/7", b"secret"),
        "each has a nonce of its own"
    );
}

#[test]
fn rolled_keys_open_what_the_old_one_sealed_until_it_is_retired() {
    let mut keys = SealingKeys::generate();
    let sealed = keys.seal("a", b"secret");
    keys.add_newest();
    assert!(!keys.is_sealed_by_newest(&sealed));
    assert_eq!(&*keys.open("a", &sealed).unwrap(), b"secret");
    let again = keys.seal("a", b"secret");
    assert!(keys.is_sealed_by_newest(&again));
    assert_eq!(keys.keep_newest(), 1);
    assert!(keys.open("a", &sealed).is_err());
    assert_eq!(&*keys.open("a", &again).unwrap(), b"secret");
}

#[test]
fn text_is_read_back_and_wrong_lines_are_named() {
    let mut keys = SealingKeys::generate();
    keys.add_newest();
    let text = keys.to_text();
    let read = SealingKeys::parse(&format!("# newest first\n{}", *text)).unwrap();
    assert_eq!(*read.to_text(), *text);
    assert_eq!(format!("{read:?}"), "SealingKeys(2 keys)");
    let line = |text: &str| SealingKeys::parse(text).unwrap_err().to_string();
    assert!(line("").starts_with("line 1 "));
    assert!(line(&format!("{}\nsecret", text.trim())).starts_with("line 3 "));
    assert!(line("bowline-sealing-key-AAAA").starts_with("line 1 "));
}
