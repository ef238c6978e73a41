//! `bowline-conformance [--capabilities] FILE.jsonl… > candidate.jsonl`

#![expect(
    clippy::disallowed_methods,
    reason = "its arguments are names of files, and nothing else"
)]

use std::{
    env, fs,
    io::{self, BufWriter, Write as _},
};

use anyhow::{Context as _, ensure};
use bowline_conformance::{Case, candidate};
use bowline_netmap::FilterSources;

fn main() -> anyhow::Result<()> {
    let mut files: Vec<_> = env::args_os().skip(1).collect();
    let mut sources = FilterSources::Addresses;
    files.retain(|argument| {
        let is_flag = argument == "--capabilities";
        if is_flag {
            sources = FilterSources::Capabilities;
        }
        !is_flag
    });
    ensure!(
        !files.is_empty(),
        "usage: bowline-conformance [--capabilities] FILE.jsonl… > candidate.jsonl"
    );
    let mut output = BufWriter::new(io::stdout().lock());
    for file in files {
        let name = file.to_string_lossy().into_owned();
        let lines = fs::read_to_string(&file).with_context(|| name.clone())?;
        for (number, line) in lines
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let case: Case = serde_json::from_str(line)
                .with_context(|| format!("{name}: line {}", number + 1))?;
            serde_json::to_writer(&mut output, &candidate(&case, sources))?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    Ok(())
}
