use super::*;

#[test]
fn code_is_read_as_people_type_it() {
    let code = make_user_code([0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0]);
    assert_eq!(code.len(), CODE_LENGTH);
    let (first, second) = code.split_at(4);
    let typed = format!(" {}-{} ", first.to_lowercase(), second);
    assert_eq!(read_user_code(&typed), Some(code));
}

#[test]
fn what_is_no_code_is_not_read() {
    for text in [
        "",
        "BCDF",
        "BCDFGHJA",
        "BCDFGHJ1",
        "BCDFGHJKL",
        "BCDF_GHJK",
        "ÄÖÜÄÖÜÄÖ",
    ] {
        assert_eq!(read_user_code(text), None, "{text}");
    }
}

#[test]
fn codes_differ_in_each_letter() {
    let all: Vec<String> = (0..200_u64)
        .map(|seed| make_user_code((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes()))
        .collect();
    for place in 0..CODE_LENGTH {
        let mut seen: Vec<u8> = all.iter().map(|code| code.as_bytes()[place]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 15, "letter {place} takes {} forms", seen.len());
    }
}

#[test]
fn program_says_no_more_than_fits() {
    let description = BrowserDescription {
        source_address: "192.0.2.1".to_owned(),
        user_agent: "agent\u{1b}[2J".to_owned(),
    };
    let name = "x".repeat(LONGEST_NAME * 2);
    let now = DateTime::UNIX_EPOCH;
    let code = "BCDFGHJK".to_owned();
    let made = new_login(String::new(), vec![1; 32], code, &name, description, now).unwrap();
    let said = describe_session(&made);
    assert_eq!(said.source_address, "192.0.2.1");
    let whole = format!("{} (agent[2J)", "x".repeat(LONGEST_NAME));
    assert_eq!(said.user_agent, whole);
}
