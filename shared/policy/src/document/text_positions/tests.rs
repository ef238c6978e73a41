use super::*;

#[test]
fn columns_count_characters_across_steps() {
    for length in [0, 1, STEP - 2, STEP - 1, STEP, 3 * STEP] {
        let text = format!("{{\n{}x", "\u{e9}".repeat(length));
        let positions = TextPositions::new(&text);
        for (offset, column) in [(text.len() - 1, length + 1), (text.len(), length + 2)] {
            let problem = positions.problem_at(offset, "here");
            assert_eq!((problem.line, problem.column), (2, to_u32(column)));
        }
    }
    let first = TextPositions::new("").problem_at(0, "here");
    assert_eq!((first.line, first.column), (1, 1));
}
