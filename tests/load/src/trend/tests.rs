use super::*;

fn is_near(value: Option<f64>, wanted: f64) -> bool {
    value.is_some_and(|value| (value - wanted).abs() < 1e-9)
}

#[test]
fn a_line_is_found_between_points_beside_it() {
    assert!(is_near(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 2.0));
    assert!(is_near(
        slope(&[(0.0, 1.0), (1.0, 1.0), (1.0, 3.0), (2.0, 3.0)]),
        1.0
    ));
    assert_eq!(slope(&[(1.0, 2.0), (1.0, 3.0)]), None);
    assert_eq!(slope(&[]), None);
}

#[test]
fn what_grows_with_the_square_has_the_exponent_two() {
    assert!(is_near(
        exponent(&[(1.0, 3.0), (10.0, 300.0), (100.0, 30_000.0)]),
        2.0
    ));
    assert!(is_near(exponent(&[(1.0, 7.0), (10.0, 7.0)]), 0.0));
}

#[test]
fn the_middle_of_an_even_number_lies_between_two() {
    assert!(is_near(median(vec![9.0, 1.0, 5.0]), 5.0));
    assert!(is_near(median(vec![9.0, 1.0, 5.0, 6.0]), 5.5));
    assert_eq!(median(Vec::new()), None);
}

#[test]
fn twice_and_half_are_one_in_the_mean() {
    assert!(is_near(geometric_mean([2.0, 0.5]), 1.0));
    assert!(is_near(geometric_mean([4.0, 16.0]), 8.0));
    assert_eq!(geometric_mean([]), None);
}
