use super::*;

fn header(kind: u8, len: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [kind, a, b, c, d]
}

#[test]
fn packets_are_allowed_up_to_64_kib_beside_their_destination() {
    for (len, fits) in [
        (31, false),
        (32, true),
        (32 + 65_536, true),
        (32 + 65_537, false),
    ] {
        assert_eq!(DerpHeader::decode(header(0x04, len)).is_ok(), fits, "{len}");
    }
    assert!(DerpHeader::decode(header(0x04, u32::MAX)).is_err());
}

#[test]
fn first_frame_is_client_info_of_at_most_4_kib() {
    assert!(DerpHeader::decode_first(header(0x02, 4 << 10)).is_ok());
    assert!(DerpHeader::decode_first(header(0x02, (4 << 10) + 1)).is_err());
    assert_eq!(
        DerpHeader::decode_first(header(0x04, 40)),
        Err(DerpFrameError::NotClientInfo(0x04))
    );
}

#[test]
fn mesh_frames_are_refused() {
    for kind in [0x09, 0x0a, 0x10, 0x11] {
        assert_eq!(
            DerpHeader::decode(header(kind, 32)),
            Err(DerpFrameError::Mesh(kind))
        );
    }
}

#[test]
fn unknown_frames_are_read_past_within_bounds() {
    assert_eq!(
        DerpHeader::decode(header(0x77, 9)),
        Ok(DerpHeader { kind: None, len: 9 })
    );
    assert!(DerpHeader::decode(header(0x77, 65_537)).is_err());
}

#[test]
fn readdressing_swaps_the_destination_for_the_source() {
    let mut frame = [&header(0x04, 34)[..], &[7; 32], b"hi"].concat();
    assert_eq!(readdress_packet(&mut frame, &[9; 32]), Some([7; 32]));
    assert_eq!(frame, [&header(0x05, 34)[..], &[9; 32], b"hi"].concat());
    assert_eq!(readdress_packet(&mut [0; 36], &[9; 32]), None);
}

#[test]
fn frames_of_the_relay_have_the_documented_bytes() {
    let greeting = server_key_frame(&[0xab; 32]);
    assert_eq!(
        greeting[..13],
        [
            1, 0, 0, 0, 40, 0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91
        ]
    );
    assert_eq!(greeting[13..], [0xab; 32]);
    assert_eq!(keep_alive_frame()[..], [6, 0, 0, 0, 0]);
    assert_eq!(
        peer_gone_frame(&[1; 32], PeerGoneReason::NotHere)[..5],
        [8, 0, 0, 0, 33]
    );
    assert_eq!(peer_gone_frame(&[1; 32], PeerGoneReason::NotHere)[37], 1);
    assert_eq!(pong_frame(b"12345678rest")[..], *b"\x13\0\0\0\x0812345678");
    assert_eq!(
        restarting_frame(1, 258)[..],
        [0x15, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 1, 2]
    );
}
