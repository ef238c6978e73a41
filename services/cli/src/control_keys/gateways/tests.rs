use bowline_control_keys::{ControlKeyState, ControlTransport};
use bowline_keys::MachinePublic;
use bowline_proto::key_registry::v1::{ReportedControlKey, ReportedControlKeys};

use super::*;

fn key(transport: ControlTransport, byte: u8) -> ControlKeyInfo {
    ControlKeyInfo {
        transport,
        state: ControlKeyState::Prepared,
        public: MachinePublic::from_bytes([byte; 32]),
    }
}

fn next() -> Vec<ControlKeyInfo> {
    vec![
        key(ControlTransport::Noise, 1),
        key(ControlTransport::Legacy, 2),
    ]
}

fn gateway(
    name: &str,
    lease: LeaseState,
    keys: &[(ControlKeyInfo, ReportedKeyState)],
) -> DescribedGateway {
    let reported = keys.iter().map(|(key, state)| ReportedControlKey {
        transport: key.transport.to_string(),
        public_key: key.public.to_string(),
        state: (*state).into(),
    });
    DescribedGateway {
        gateway: name.to_owned(),
        address: "192.0.2.1:443".to_owned(),
        lease: lease.into(),
        control_keys: Some(ReportedControlKeys {
            keys: reported.collect(),
        }),
        ..DescribedGateway::default()
    }
}

#[test]
fn gateway_that_lacks_a_key_is_named_with_what_it_lacks() {
    use ReportedKeyState::{Active, Prepared};
    let [noise, legacy] = [next()[0], next()[1]];
    let live = |name, keys: &[_]| gateway(name, LeaseState::Live, keys);
    let older = DescribedGateway {
        control_keys: None,
        ..live("older", &[])
    };
    let fleet = [
        live("prepared", &[(noise, Prepared), (legacy, Prepared)]),
        live("ahead", &[(noise, Active), (legacy, Active)]),
        live("half", &[(noise, Active), (legacy, Prepared)]),
        live(
            "other",
            &[
                (noise, Prepared),
                (key(ControlTransport::Legacy, 1), Prepared),
            ],
        ),
        older,
        gateway("stale", LeaseState::Stale, &[]),
        gateway("gone", LeaseState::Gone, &[]),
    ];
    let named = |demand: KeyDemand| {
        let lacks = demand.describe_lacks(&fleet);
        let names = lacks.iter().map(|lack| {
            let words = lack.split(' ').collect::<Vec<_>>();
            assert_eq!(words[2..4], ["at", "192.0.2.1:443"], "{lack}");
            words[1].to_owned()
        });
        (names.collect::<Vec<_>>(), lacks)
    };
    let (names, lacks) = named(KeyDemand::Known(next()));
    assert_eq!(names, ["other", "older"]);
    assert!(lacks[0].contains("does not have the prepared"), "{lacks:?}");
    assert!(lacks[1].contains("a newer release"), "{lacks:?}");
    let (names, lacks) = named(KeyDemand::Offered(next()));
    assert_eq!(names, ["prepared", "half", "other", "older"]);
    assert!(lacks[0].contains("does not offer"), "{lacks:?}");
}

#[test]
fn without_a_live_gateway_nothing_is_known() {
    let gone = [gateway("gone", LeaseState::Gone, &[])];
    for fleet in [&gone[..], &[]] {
        let refused = check_any_lives(fleet).unwrap_err().to_string();
        assert!(refused.contains("--without-checking"), "{refused}");
    }
    assert!(check_any_lives(&[gateway("g", LeaseState::Live, &[])]).is_ok());
}
