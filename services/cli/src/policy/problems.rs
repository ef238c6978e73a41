//! What is wrong with a document, and what there are warnings of, as it is printed.

use bowline_policy::{DocumentVerdict, Problem};
use bowline_proto::policy::v1::PolicyProblem;
use serde_json::{Value, json};

use crate::{
    failure::{Failure, FailureKind},
    output::Printer,
};

/// What was found in a document.
#[derive(Debug, Default)]
pub struct DocumentFindings {
    /// Why it is refused.
    pub problems: Vec<PolicyProblem>,
    /// What does not do what it says.
    pub warnings: Vec<PolicyProblem>,
}

impl DocumentFindings {
    /// Returns what a verdict says.
    pub fn of(verdict: &DocumentVerdict) -> Self {
        let convert =
            |problems: &[Problem]| problems.iter().cloned().map(convert_problem).collect();
        Self {
            problems: convert(&verdict.problems),
            warnings: convert(&verdict.warnings),
        }
    }

    /// Prints it, with `name` for the document, and fails when the document is refused. Warnings go to standard error;
    /// for machines they are in the answer, which is the caller's where nothing is wrong.
    pub fn report_problems(&self, printer: &Printer, name: &str) -> Result<(), Failure> {
        for line in problem_lines(name, &self.warnings) {
            printer.print_warning(&line);
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        printer.print_result(
            &self.problems_json(),
            &problem_lines(name, &self.problems).join("\n"),
        );
        Err(Failure::new(
            FailureKind::Refused,
            "the policy has mistakes: the one in force stays",
        ))
    }

    /// Returns it for machines.
    pub fn problems_json(&self) -> Value {
        json!({ "problems": problem_values(&self.problems), "warnings": problem_values(&self.warnings) })
    }
}

/// Returns problems for machines.
pub fn problem_values(problems: &[PolicyProblem]) -> Vec<Value> {
    let value = |problem: &PolicyProblem| json!({ "line": problem.line, "column": problem.column, "message": problem.message, "hint": problem.hint });
    problems.iter().map(value).collect()
}

/// Returns a problem as servers tell it.
pub fn convert_problem(problem: Problem) -> PolicyProblem {
    PolicyProblem {
        line: problem.line,
        column: problem.column,
        message: problem.message,
        hint: problem.hint,
    }
}

fn problem_lines(name: &str, problems: &[PolicyProblem]) -> Vec<String> {
    let line = |problem: &PolicyProblem| {
        let hint = if problem.hint.is_empty() {
            String::new()
        } else {
            format!(" ({})", problem.hint)
        };
        format!(
            "{name}:{}:{}: {}{hint}",
            problem.line, problem.column, problem.message
        )
    };
    problems.iter().map(line).collect()
}
