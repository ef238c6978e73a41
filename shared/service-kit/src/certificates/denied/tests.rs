use super::*;

#[test]
fn serials_and_names_are_read_and_anything_else_is_refused_with_its_line() {
    let text =
        "# stolen laptops\n0A:1b:ff\n\nadmin:amira@example.com  # left\nservice:relay\n00ff\n";
    let denied = DeniedList::parse(text).unwrap();
    let serials = [vec![0x0a, 0x1b, 0xff], vec![0xff]];
    assert!(denied.serials.iter().eq(&serials));
    assert!(
        denied.names.contains("admin:amira@example.com") && denied.names.contains("service:relay")
    );
    for line in [
        "amira",
        "admin:",
        "admin:a b",
        "service:nobody",
        "0x1f",
        "::",
        "0",
    ] {
        let refused = DeniedList::parse(&format!("ff\n{line}\n")).unwrap_err();
        assert!(refused.starts_with("line 2: "), "{line}: {refused}");
    }
    assert_eq!(DeniedList::parse("").unwrap(), DeniedList::default());
    assert!(DeniedList::default().includes_certificate(b"no certificate"));
}
