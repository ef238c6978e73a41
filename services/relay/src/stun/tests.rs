use super::*;

/// RFC 5769 §2.1: SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME, MESSAGE-INTEGRITY, FINGERPRINT.
const RFC5769_REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74\
    002400046e0001ff\
    80290008932ff9b151263b36\
    000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";

fn request() -> Vec<u8> {
    hex::decode(RFC5769_REQUEST).unwrap()
}

fn bare() -> Vec<u8> {
    let mut bare = request()[..HEADER_LEN].to_vec();
    bare[3] = 0;
    bare
}

/// RFC 5769 §2.2: 192.0.2.1:32853 for this transaction id is `a147 e112a643`.
#[test]
fn ipv4_source_is_answered_with_the_rfc_vector() {
    let answer = answer_datagram(&request(), "192.0.2.1:32853".parse().unwrap()).unwrap();
    let expected = "0101000c2112a442b7e7a701bc34d686fa87dfae002000080001a147e112a643";
    assert_eq!(hex::encode(answer), expected);
}

/// RFC 5769 §2.3: 2001:db8:1234:5678:11:2233:4455:6677, port 32853.
#[test]
fn ipv6_source_is_answered_with_the_rfc_vector() {
    let source = "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
        .parse()
        .unwrap();
    let expected = "010100182112a442b7e7a701bc34d686fa87dfae\
        002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9";
    assert_eq!(
        hex::encode(answer_datagram(&request(), source).unwrap()),
        expected
    );
}

#[test]
fn ipv4_source_on_a_dual_stack_socket_is_told_its_ipv4_address() {
    let mapped = answer_datagram(&bare(), "[::ffff:192.0.2.1]:9".parse().unwrap());
    assert_eq!(
        mapped,
        answer_datagram(&bare(), "192.0.2.1:9".parse().unwrap())
    );
}

#[test]
fn every_truncation_of_a_request_is_ignored() {
    let source = "192.0.2.1:9".parse().unwrap();
    for len in 0..request().len() {
        assert_eq!(answer_datagram(&request()[..len], source), None, "{len}");
    }
}

#[test]
fn only_binding_requests_with_the_cookie_are_answered() {
    let source = "192.0.2.1:9".parse().unwrap();
    assert!(answer_datagram(&bare(), source).is_some());
    // Response class, another method, another cookie, a length that lies.
    for (at, value) in [(0, 1), (1, 3), (4, 0), (3, 4)] {
        let mut wrong = bare();
        wrong[at] = value;
        assert_eq!(answer_datagram(&wrong, source), None, "byte {at}");
    }
}

#[test]
fn wrong_fingerprint_is_ignored() {
    let mut wrong = request();
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(
        answer_datagram(&wrong, "192.0.2.1:9".parse().unwrap()),
        None
    );
}

#[test]
fn attribute_reaching_past_the_end_is_ignored() {
    let mut wrong = bare();
    wrong[3] = 4;
    wrong.extend_from_slice(&[0x80, 0x22, 0xff, 0xff]);
    assert_eq!(
        answer_datagram(&wrong, "192.0.2.1:9".parse().unwrap()),
        None
    );
}
