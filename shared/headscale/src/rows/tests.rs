use super::{HeadscaleNode, NodeFields, parse_list, parse_time};

#[test]
fn times_of_both_databases_are_read() {
    let sqlite = parse_time("2026-11-27 23:02:08.50413344+00:00").expect("a time");
    let postgres = parse_time("2026-11-28 01:02:08.504133+02").expect("a time");
    let difference = sqlite.expect("one") - postgres.expect("one");
    assert_eq!(difference.num_milliseconds(), 0);
    for none in ["", "0001-01-01 00:00:00+00:00", "0001-01-01 00:00:00+00"] {
        assert_eq!(parse_time(none), Ok(None), "{none}");
    }
    assert!(parse_time("yesterday").is_err());
}

#[test]
fn lists_are_json_and_may_be_absent() {
    assert_eq!(parse_list("[\"tag:a\"]"), Ok(vec!["tag:a".to_owned()]));
    for none in ["", "null", "[]"] {
        assert_eq!(parse_list(none), Ok(Vec::new()), "{none}");
    }
    assert!(parse_list("tag:a").is_err());
}

#[test]
fn a_key_that_is_none_is_not_repeated() {
    let fields = NodeFields {
        machine_key: "privkey:0011",
        node_key: "",
        disco_key: "",
        endpoints: "",
        host_info: "",
        tags: "",
        approved_routes: "",
        last_seen: "",
        expiry: "",
        created_at: "",
    };
    let read = fields.parse_into(HeadscaleNode::default());
    assert_eq!(read.expect_err("no key"), "machine_key is no key");
}
