use super::*;

#[test]
fn steps_are_read_as_they_are_written() {
    for step in AttemptStep::ALL {
        assert_eq!(AttemptStep::from_number(step.number()), Some(step));
    }
    assert_eq!(AttemptStep::from_number(7), None);
}

#[test]
fn device_that_names_a_tailnet_joins_no_other() {
    let tailnet = Tailnet {
        name: "home".to_owned(),
        ..Tailnet::default()
    };
    assert!(check_wanted_tailnet("", &tailnet).is_ok());
    assert!(check_wanted_tailnet("home", &tailnet).is_ok());
    assert!(check_wanted_tailnet("work", &tailnet).is_err());
}
