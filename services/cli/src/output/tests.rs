use super::*;

#[derive(Serialize)]
struct Pet(&'static str, &'static str);

impl Row for Pet {
    const HEADS: &'static [&'static str] = &["name", "bites", "kind"];
    const RARE: &'static [&'static str] = &["bites"];

    fn table_cells(&self) -> Vec<String> {
        vec![self.0.to_owned(), self.1.to_owned(), "cat".to_owned()]
    }
}

fn words(rows: &[Pet]) -> Vec<String> {
    let table = format_table(rows);
    table.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn rare_column_is_shown_when_a_row_has_something_there() {
    assert_eq!(words(&[Pet("tom", "")]), ["NAME", "KIND", "tom", "cat"]);
    assert_eq!(
        words(&[Pet("tom", ""), Pet("kit", "yes")]),
        ["NAME", "BITES", "KIND", "tom", "cat", "kit", "yes", "cat"]
    );
}
