//! The recorded cases, where they are: `BOWLINE_GOLDEN_DIR` names the folder, `../shared/golden` beside the project is
//! looked at without it.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use bowline_conformance::{Case, candidate};
use bowline_netmap::FilterSources;

/// Cases whose recording is known to lack a fact.
const DEFECTS: [&str; 1] = ["acl-k03"];

fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    let folder = env::var_os("BOWLINE_GOLDEN_DIR")
        .map_or(beside, PathBuf::from)
        .join("policy");
    folder.is_dir().then_some(folder)
}

#[test]
fn every_recorded_case_is_told_as_it_was_recorded() {
    grade(FilterSources::Addresses, "addresses.jsonl");
}

#[test]
fn sources_named_by_capabilities_mean_the_same() {
    grade(FilterSources::Capabilities, "capabilities.jsonl");
}

fn grade(sources: FilterSources, name: &str) {
    let candidates = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let Some(folder) = folder() else {
        let told = "LEFT OUT: no recorded cases here (BOWLINE_GOLDEN_DIR names their folder)";
        #[expect(clippy::print_stderr, reason = "whoever runs this shall see it")]
        {
            eprintln!("{told}");
        }
        return;
    };
    let files = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let mut output = fs::File::create(&candidates).unwrap();
    let mut cases = 0;
    for file in files {
        for line in fs::read_to_string(file).unwrap().lines() {
            let case: Case = serde_json::from_str(line).unwrap();
            let told = serde_json::to_string(&candidate(&case, sources)).unwrap();
            writeln!(output, "{told}").unwrap();
            cases += 1;
        }
    }
    assert!(cases > 0, "no case in {}", folder.display());
    let graded = Command::new("python3")
        .arg(folder.join("compare.py"))
        .arg(&candidates)
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&graded.stdout);
    let wrong = report.lines().filter_map(|line| line.strip_prefix("FAIL "));
    let wrong = wrong.filter(|line| !DEFECTS.iter().any(|id| line.contains(&format!("\t{id}/"))));
    let wrong: Vec<_> = wrong.collect();
    assert!(
        wrong.is_empty() && report.contains("filter"),
        "{wrong:#?}\n{report}"
    );
}
