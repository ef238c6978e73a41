use super::*;

fn key(transport: &str, state: &'static str, public: &str) -> GatewayKey {
    GatewayKey {
        transport: transport.to_owned(),
        state,
        public: public.to_owned(),
    }
}

#[test]
fn each_key_has_a_line_with_the_gateways_that_lack_it() {
    let both = [
        key("noise", "active", "n"),
        key("noise", "prepared", "m"),
        key("legacy", "active", "l"),
    ];
    let ahead = [key("noise", "old", "n"), key("noise", "active", "m")];
    let gateways = [
        ("a:1", Some(&both[..])),
        ("b:1", Some(&ahead[..])),
        ("c:1", None),
    ];
    let lines = KeySpread::list(gateways.into_iter());
    let cells: Vec<_> = lines
        .iter()
        .map(|one| one.table_cells().join(" "))
        .collect();
    assert_eq!(
        cells,
        [
            "m noise 1 1 0 c:1",
            "n noise 0 1 1 c:1",
            "l legacy 0 1 0 b:1, c:1",
        ]
    );
}
