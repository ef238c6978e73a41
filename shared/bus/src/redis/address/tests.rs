use super::*;

#[test]
fn sentinels_and_their_master_are_read() {
    let url = "redis+sentinel://bowline:secret@one:26379,two:26380/hints";
    let Ok(RedisAddress::Sentinels {
        sentinels,
        master,
        template,
    }) = RedisAddress::parse(url)
    else {
        panic!("it names sentinels");
    };
    let asked = sentinels.iter().map(|one| one.get_connection_info());
    let asked: Vec<_> = asked.map(|info| info.addr().to_string()).collect();
    assert_eq!(asked, ["one:26379", "two:26380"]);
    let own = sentinels[0].get_connection_info().redis_settings();
    assert_eq!((own.username(), own.password()), (None, None));
    assert_eq!(master, "hints");
    let settings = template.redis_settings();
    let credentials = (settings.username(), settings.password());
    assert_eq!(credentials, (Some("bowline"), Some("secret")));
}

#[test]
fn nothing_waits_for_the_answer_to_what_was_sent_before() {
    let has_no_delay = |client: &Client| client.get_connection_info().tcp_settings().nodelay();
    let Ok(RedisAddress::Fixed(fixed)) = RedisAddress::parse("redis://one") else {
        panic!("it is one address");
    };
    assert!(has_no_delay(&fixed));
    let Ok(RedisAddress::Sentinels { sentinels, .. }) =
        RedisAddress::parse("redis+sentinel://one:26379/hints")
    else {
        panic!("it names a sentinel");
    };
    assert!(sentinels.iter().all(has_no_delay));
}

#[test]
fn address_without_a_master_is_refused() {
    for url in ["redis+sentinel://one:26379", "redis+sentinel://one:26379/"] {
        let refused = RedisAddress::parse(url).unwrap_err().to_string();
        assert!(
            refused.contains("name of the master is missing"),
            "{refused}"
        );
    }
    assert!(RedisAddress::parse("redis://one").is_ok());
    assert!(RedisAddress::parse("http://one").is_err());
}
