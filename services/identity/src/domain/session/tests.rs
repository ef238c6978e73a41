use super::*;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
}

#[test]
fn session_ends_unused_and_at_its_end() {
    let end = at(720);
    assert!(is_live(at(0), end, at(119)));
    assert!(!is_live(at(0), end, at(120)), "two hours unused");
    assert!(is_live(at(119), end, at(200)), "used in between");
    assert!(!is_live(at(719), end, at(720)), "however much it is used");
}

#[test]
fn invitation_is_for_a_person_and_ends() {
    let kim = Invitation {
        login_name: "kim@corp.example".to_owned(),
        role: Role::Member.into(),
        ..Invitation::default()
    };
    assert_eq!(check_invitation(&kim, None).ok(), Some(TimeDelta::days(7)));
    let too_long = check_invitation(&kim, Some(TimeDelta::days(31)));
    assert!(too_long.unwrap_err().to_string().contains("30 days"));
    let owner = Invitation {
        role: Role::Owner.into(),
        ..kim.clone()
    };
    assert!(check_invitation(&owner, None).is_err());
    let nobody = Invitation {
        login_name: "kim".to_owned(),
        ..kim
    };
    assert!(check_invitation(&nobody, None).is_err());
}
