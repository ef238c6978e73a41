use super::*;

#[test]
fn token_is_letters_that_lead_to_no_other_file() {
    assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"));
    for text in ["", "..", "a/b", "a.pem", "a\0", &"a".repeat(257)] {
        assert!(!is_token(text), "{text}");
    }
}
