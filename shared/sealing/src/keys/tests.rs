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

fn states(keys: &SealingKeys) -> Vec<SealingKeyState> {
    keys.describe().map(|(state, _)| state).collect()
}

#[test]
fn key_is_prepared_then_active_while_the_one_before_opens_until_it_is_retired() {
    use SealingKeyState::{Active, Old, Prepared};
    let mut keys = SealingKeys::generate();
    let sealed = keys.seal("a", b"secret");
    keys.add_prepared();
    keys.add_prepared();
    assert_eq!(states(&keys), [Active, Prepared]);
    assert!(keys.is_sealed_by_active(&keys.seal("a", b"secret")));
    assert!(keys.is_sealed_by_active(&sealed), "it is not used yet");

    // A replica that has the prepared key opens what another seals that uses it.
    let early = SealingKeys::parse(&keys.to_text()).unwrap();
    assert!(keys.activate_prepared());
    assert!(!keys.activate_prepared());
    assert_eq!(states(&keys), [Active, Old]);
    assert!(!keys.is_sealed_by_active(&sealed));
    assert_eq!(&*keys.open("a", &sealed).unwrap(), b"secret");
    let again = keys.seal("a", b"secret");
    assert_eq!(&*early.open("a", &again).unwrap(), b"secret");

    keys.add_prepared();
    assert_eq!(states(&keys), [Active, Prepared, Old]);
    assert_eq!(keys.drop_old(), 1);
    assert_eq!(states(&keys), [Active, Prepared]);
    assert!(keys.open("a", &sealed).is_err());
    assert_eq!(&*keys.open("a", &again).unwrap(), b"secret");
    assert!(keys.drop_prepared());
    assert!(!keys.drop_prepared());
    assert_eq!(states(&keys), [Active]);
}

/// The release before knew no prepared keys: to it they are old ones, which open.
#[test]
fn prepared_key_is_a_line_like_others_behind_the_active_one() {
    let mut keys = SealingKeys::generate();
    keys.add_prepared();
    let text = keys.to_text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[1], "# prepared");
    assert!(lines[2].starts_with(PREFIX));
    // The first seals, whatever stands above it.
    let first = format!("# prepared\n{}\n", lines[0]);
    assert_eq!(
        states(&SealingKeys::parse(&first).unwrap()),
        [SealingKeyState::Active]
    );
}

#[test]
fn text_is_read_back_and_wrong_lines_are_named() {
    let mut keys = SealingKeys::generate();
    keys.add_prepared();
    let text = keys.to_text();
    let read = SealingKeys::parse(&format!("# of a store\n{}", *text)).unwrap();
    assert_eq!(*read.to_text(), *text);
    assert_eq!(format!("{read:?}"), "SealingKeys(2 keys)");
    let line = |text: &str| SealingKeys::parse(text).unwrap_err().to_string();
    assert!(line("").starts_with("line 1 "));
    assert!(line(&format!("{}\nsecret", text.trim())).starts_with("line 4 "));
    assert!(line("bowline-sealing-key-AAAA").starts_with("line 1 "));
}

#[test]
fn derived_keys_open_for_the_same_secret_and_purpose_alone() {
    let key = |secret: &[u8], purpose: &[&str]| SealingKeys::derive(secret, purpose);
    let sealed = key(b"0123456789abcdef", &["answer", "amira"]).seal("a", b"secret");
    let opened = key(b"0123456789abcdef", &["answer", "amira"]).open("a", &sealed);
    assert_eq!(&*opened.unwrap(), b"secret");
    for other in [
        key(b"0123456789abcdeg", &["answer", "amira"]),
        key(b"0123456789abcdef", &["answer", "noor"]),
        // Words are told apart.
        key(b"0123456789abcdef", &["answeramira"]),
        key(b"0123456789abcdef", &["answera", "mira"]),
    ] {
        assert!(other.open("a", &sealed).is_err());
    }
}
