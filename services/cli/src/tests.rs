use super::*;

#[test]
fn commands_parse_and_their_help_is_whole() {
    Arguments::command().debug_assert();
    let parsed = Arguments::try_parse_from([
        "bowline",
        "keys",
        "create",
        "--user",
        "amira@example.com",
        "--reusable",
        "--tag",
        "tag:web",
        "--expires",
        "24h",
        "--output",
        "json",
    ]);
    let parsed = parsed.unwrap();
    assert_eq!(parsed.output, Format::Json);
    assert!(matches!(parsed.command, Some(Command::Keys(_))));
}

#[test]
fn without_a_command_it_serves() {
    assert!(
        Arguments::try_parse_from(["bowline"])
            .unwrap()
            .command
            .is_none()
    );
}
