use super::*;

/// The request and the IPv6 answer of RFC 5769, sections 2.1 and 2.3.
const ID: [u8; 12] = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

#[test]
fn answers_of_the_standard_are_read() {
    let mut v6 = b"\x01\x01\x00\x28\x21\x12\xa4\x42".to_vec();
    v6.extend_from_slice(&ID);
    v6.extend_from_slice(b"\x80\x22\x00\x0btest vector\x20");
    v6.extend_from_slice(b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79");
    v6.extend_from_slice(b"\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9");
    let expected = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
    assert_eq!(mapped_address(&v6, ID), Some(expected.parse().unwrap()));
    assert_eq!(
        mapped_address(&v6, [0; 12]),
        None,
        "it answers another request"
    );
    for length in 0..v6.len() {
        assert_eq!(mapped_address(&v6[..length], ID), None, "{length}");
    }
    let mut v4 = b"\x01\x01\x00\x0c\x21\x12\xa4\x42".to_vec();
    v4.extend_from_slice(&ID);
    v4.extend_from_slice(b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43");
    assert_eq!(
        mapped_address(&v4, ID),
        Some("192.0.2.1:32853".parse().unwrap())
    );
}

#[test]
fn checksum_is_that_of_the_standard() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    assert_eq!(binding_request(ID).len(), 40);
}
