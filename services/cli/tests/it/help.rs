//! What the command says of itself: names of commands, arguments, flags and variables, and the texts about them.

use std::fmt::Write as _;

use bowline_interface::assert_unchanged;

use crate::bowline::{TestInstallation, command, run};

/// What `--help` says of a command and of all below it.
struct Help {
    /// The words after `bowline`.
    path: Vec<String>,
    text: String,
}

/// Returns the help of every command, in the order in which it is listed.
async fn help_of_all() -> Vec<Help> {
    let installation = TestInstallation::new();
    let mut all = Vec::new();
    let mut asked = vec![Vec::new()];
    while let Some(path) = asked.pop() {
        let mut command = command(installation.directory());
        command
            .args(&path)
            .arg("--help")
            .env("COLUMNS", "100")
            .env("HOME", "/home/amira")
            .env_remove("XDG_DATA_HOME");
        let said = run(&mut command).await;
        assert_eq!((said.code, &*said.error), (0, ""), "{path:?}");
        for name in subcommands(&said.out).into_iter().rev() {
            asked.push([&path[..], &[name]].concat());
        }
        let text = said.out;
        all.push(Help { path, text });
    }
    all
}

/// Returns the names of the commands that need no further word.
pub(crate) async fn leaf_commands() -> Vec<String> {
    let all = help_of_all().await;
    let leaves = all.iter().filter(|help| subcommands(&help.text).is_empty());
    leaves.map(|help| help.path.join(" ")).collect()
}

/// Returns the lines of a section of a help text, such as `Commands:`.
fn section<'t>(text: &'t str, head: &str) -> impl Iterator<Item = &'t str> {
    let mut lines = text.lines().skip_while(move |line| *line != head);
    lines.next();
    lines.take_while(|line| line.is_empty() || line.starts_with(' '))
}

fn subcommands(text: &str) -> Vec<String> {
    let names = section(text, "Commands:").filter_map(name_at_begin);
    names.filter(|name| name != "help").collect()
}

/// Returns the first word of a line that is indented by two: what a section lists.
fn name_at_begin(line: &str) -> Option<String> {
    let rest = line
        .strip_prefix("  ")
        .filter(|rest| !rest.starts_with(' '))?;
    rest.split(' ').next().map(str::to_owned)
}

#[tokio::test]
async fn interface_of_help_is_unchanged() {
    let mut text = String::new();
    for help in help_of_all().await {
        let path = help.path.join(" ");
        writeln!(text, "=== bowline {path}\n{}", help.text).unwrap();
    }
    assert_unchanged("help", &text);
}

#[tokio::test]
async fn interface_of_commands_is_unchanged() {
    let mut text = String::new();
    let mut global = Vec::new();
    for help in help_of_all().await {
        let own = names(&help.text);
        let is_root = help.path.is_empty();
        let kept = own.iter().filter(|name| is_root || !global.contains(*name));
        writeln!(text, "bowline {}", help.path.join(" ")).unwrap();
        for name in kept {
            writeln!(text, "  {name}").unwrap();
        }
        if is_root {
            global = own;
        }
    }
    assert_unchanged("commands", &text);
}

/// Returns what a help text names and what belongs to it: arguments, flags, variables, defaults, values.
fn names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let is_listed = |line: &&str| line.starts_with(' ') || line.starts_with("Usage: ");
    for line in text.lines().filter(is_listed) {
        let word = line.trim();
        if let Some(usage) = word.strip_prefix("Usage: ") {
            names.push(format!("usage: {usage}"));
        } else if word.starts_with("--") || is_short_flag(word) || is_argument(word) {
            names.push(word.to_owned());
        } else if let Some(name) = names.last_mut() {
            // Beside the text about a flag: "[env: …]", or values as a list.
            let note = word.find('[').map(|at| &word[at..]);
            let note = note.filter(|note| is_note(note));
            let value = word
                .strip_prefix("- ")
                .and_then(|rest| rest.split(':').next());
            if let Some(part) = note.or(value) {
                name.push(' ');
                name.push_str(part);
            }
        }
    }
    names
}

fn is_note(note: &str) -> bool {
    let kinds = ["[env: ", "[default: ", "[possible values: "];
    kinds.iter().any(|kind| note.starts_with(kind))
}

fn is_short_flag(word: &str) -> bool {
    word.starts_with('-') && word[1..].starts_with(|letter: char| letter.is_ascii_alphabetic())
}

fn is_argument(word: &str) -> bool {
    let is_name = |inner: &str| {
        inner
            .chars()
            .all(|letter| letter.is_ascii_uppercase() || letter == '_')
    };
    let inner = word.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    let optional = word.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    inner.or(optional).is_some_and(|(inner, _)| is_name(inner))
}
