use super::*;

#[test]
fn text_has_what_the_directory_has() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let check = || {
        let keys = ControlKeys::load(directory).unwrap();
        let text = keys.expose_text();
        let read = ControlKeys::parse(&text).unwrap();
        assert_eq!(read.describe(), keys.describe());
        text.lines().count()
    };
    ControlKeys::create(directory).unwrap();
    assert_eq!(check(), 2);
    ControlKeys::prepare(directory).unwrap();
    assert_eq!(check(), 4);
    ControlKeys::activate(directory).unwrap();
    assert_eq!(check(), 4);
}

#[test]
fn text_that_is_none_is_refused_without_the_keys_in_it() {
    let key = format!("privkey:{}", "5".repeat(64));
    let good = format!("# of a store\n\nnoise active {key}\n legacy  active {key}\n");
    assert_eq!(ControlKeys::parse(&good).unwrap().describe().len(), 2);
    for (text, said) in [
        (String::new(), "not an active key for noise"),
        (
            format!("noise active {key}"),
            "not an active key for legacy",
        ),
        (
            format!("{good}noise active {key}"),
            "more than once an active key for noise",
        ),
        (format!("{good}noise newest {key}"), "line 5"),
        (format!("{good}quic active {key}"), "line 5"),
        (format!("{good}noise old {key} more"), "line 5"),
        (format!("{good}noise old {key}0"), "line 5"),
        (key.clone(), "line 1"),
    ] {
        let refused = ControlKeys::parse(&text).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
        assert!(!refused.contains("555"), "{refused}");
    }
}
