use super::*;

#[test]
fn rows_are_split_in_powers_of_two_in_their_order() {
    let rows: Vec<usize> = (0..1300).collect();
    for count in [0, 1, 2, 13, 500, 1300] {
        let parts: Vec<_> = split_rows(&rows[..count]).collect();
        assert!(
            parts
                .iter()
                .all(|part| part.len().is_power_of_two() && part.len() <= MOST_ROWS)
        );
        assert_eq!(parts.concat(), rows[..count]);
    }
    let lengths = |count| {
        split_rows(&rows[..count])
            .map(<[_]>::len)
            .collect::<Vec<_>>()
    };
    assert_eq!(lengths(13), [8, 4, 1]);
}
