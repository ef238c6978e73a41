use super::*;

#[test]
fn what_is_said_of_a_user_is_read_back() {
    for by_administrator in [false, true] {
        for by_scim in [false, true] {
            for awaits_approval in [false, true] {
                for by_connection_id in [0, 7] {
                    let suspension = Suspension {
                        by_administrator,
                        by_scim,
                        awaits_approval,
                        by_connection_id,
                    };
                    let mut user = User::default();
                    suspension.apply_to(&mut user);
                    assert_eq!(Suspension::of(&user), suspension);
                    assert_eq!(user.suspended, suspension != Suspension::default());
                }
            }
        }
    }
}

#[test]
fn suspension_of_an_earlier_release_is_an_administrators() {
    let mut user = User {
        suspended: true,
        ..User::default()
    };
    assert_eq!(Suspension::of(&user).source_names(), ["administrator"]);
    // It restores a user without knowing who had suspended it.
    user.suspended_by = vec![SuspensionSource::Scim.into()];
    user.suspended = false;
    assert_eq!(Suspension::of(&user), Suspension::default());
}
