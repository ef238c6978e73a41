//! The page says what the files say, and the model what anybody expects of one.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

use std::{fs, path::Path};

use bowline_sizing::{Machine, Workload, make_page};
use clap::Parser;

/// Where the tables stand on the page.
const BEGIN: &str = "<!-- made by bowline-sizing -->\n";
const END: &str = "<!-- end -->";

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    workload: Workload,
    #[command(flatten)]
    machine: Machine,
}

fn make(arguments: &[&str]) -> String {
    let options = Options::parse_from(["sizing"].iter().chain(arguments));
    let measured = Path::new(env!("CARGO_MANIFEST_DIR")).join("measured");
    make_page(&measured, &options.workload, &options.machine).unwrap()
}

/// Returns the number in a row of the largest workload.
fn number_in(page: &str, row: &str) -> f64 {
    let line = page.lines().find(|line| line.contains(row)).unwrap();
    let cell = line.rsplit(" | ").next().unwrap();
    let digits = cell.trim_matches(|letter: char| !letter.is_ascii_digit());
    let number = digits.split([':', ' ']).next().unwrap();
    number.replace(',', "").parse().unwrap()
}

#[test]
fn the_page_has_the_tables_of_the_measured_runs() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/sizing.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(BEGIN).unwrap();
    let (tables, _) = rest.split_once(END).unwrap();
    assert_eq!(
        tables.trim(),
        make(&[]).trim(),
        "put in what `cargo run -p bowline-sizing` prints"
    );
}

#[test]
fn more_streams_and_smaller_machines_need_more_gateways() {
    let gateways = |arguments: &[&str]| number_in(&make(arguments), "**gateways**");
    let usual = gateways(&[]);
    assert!(gateways(&["--online", "1"]) > usual);
    assert!(gateways(&["--streams", "4096"]) > usual);
    assert!(gateways(&["--cpus", "1", "--memory", "2"]) > usual);
}

#[test]
fn a_fleet_in_one_tailnet_is_refused_where_no_number_of_gateways_is_enough() {
    let one = Options::parse_from(["sizing", "--tailnets", "1", "--cpus", "0.1"]);
    let measured = Path::new(env!("CARGO_MANIFEST_DIR")).join("measured");
    let refused = make_page(&measured, &one.workload, &one.machine).unwrap_err();
    assert!(refused.to_string().contains("no number of gateways"));
}
