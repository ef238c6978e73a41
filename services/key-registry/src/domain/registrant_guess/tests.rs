use super::*;

#[test]
fn first_place_that_may_be_given_and_the_label_of_the_hostname_are_guessed() {
    let pool = AddressPool::parse("100.64.0.0/10", "fd7a:115c:a1e0::/48");
    let guess = RegistrantGuess::new(pool, 5, "Joe's laptop.local");
    let pair = guess.pair.expect("the pool has places");
    assert_eq!(pair.ipv4.to_string(), "100.64.0.5");
    assert_eq!(pair.ipv6.to_string(), "fd7a:115c:a1e0::5");
    assert_eq!(guess.label, "joes-laptop");
    assert_eq!(guess.numbered_label(), "joes-laptop-1");
    let third = RegistrantGuess { number: 3, ..guess };
    assert_eq!(third.numbered_label(), "joes-laptop-3");
}

#[test]
fn nothing_is_guessed_beyond_the_pool() {
    let pool = AddressPool::parse("100.64.0.0/30", "fd7a:115c:a1e0::/48");
    assert_eq!(RegistrantGuess::new(pool, 4, "laptop").pair, None);
    assert_eq!(RegistrantGuess::new(None, 1, "laptop").pair, None);
}
