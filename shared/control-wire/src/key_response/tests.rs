use super::*;

#[test]
fn each_generation_gets_the_form_it_reads() {
    let (noise, legacy) = (
        MachinePublic::from_bytes([1; 32]),
        MachinePublic::from_bytes([2; 32]),
    );
    let settings = KeySettings {
        noise,
        legacy,
        nacl_below: CapabilityVersion(89),
    };
    let text = KeyAnswer::Text("02".repeat(32));
    let json = |public_key| {
        KeyAnswer::Json(KeyResponse {
            legacy_public_key: legacy,
            public_key,
        })
    };
    assert_eq!(key_answer(None, &settings), text);
    assert_eq!(key_answer(Some("27"), &settings), text);
    assert_eq!(key_answer(Some("88"), &settings), json(MachinePublic::ZERO));
    assert_eq!(key_answer(Some("90"), &settings), json(noise));
    for odd in [
        "",
        "x",
        "+130",
        "-130",
        " 130",
        "130 ",
        "130\n",
        "1e2",
        "0x82",
        "130.0",
        "65536",
        "१३०",
    ] {
        let answer = key_answer(Some(odd), &settings);
        assert_eq!(answer, KeyAnswer::BadVersion, "{odd:?}");
    }
    let settings = KeySettings {
        nacl_below: CapabilityVersion(0),
        ..settings
    };
    assert_eq!(key_answer(Some("88"), &settings), json(noise));
}
