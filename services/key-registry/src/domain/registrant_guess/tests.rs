use super::*;

#[test]
fn label_of_the_hostname_is_guessed_with_a_number() {
    let guess = RegistrantGuess::new(None, "Joe's laptop.local");
    assert_eq!(guess.label, "joes-laptop");
    assert_eq!(guess.numbered_label(), "joes-laptop-1");
    let third = RegistrantGuess { number: 3, ..guess };
    assert_eq!(third.numbered_label(), "joes-laptop-3");
}
