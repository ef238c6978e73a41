//! Writes the inputs that fuzzing begins with to `corpus`, a folder for each target.

use std::{fs, io, path::Path};

#[path = "entry/access.rs"]
mod access;
#[path = "entry/addresses.rs"]
mod addresses;
#[path = "entry/answers.rs"]
mod answers;
#[path = "entry/boxes.rs"]
mod boxes;
#[path = "entry/frames.rs"]
mod frames;
#[path = "entry/handshakes.rs"]
mod handshakes;
#[path = "entry/policies.rs"]
mod policies;
#[path = "entry/records.rs"]
mod records;
#[path = "entry/requests.rs"]
mod requests;
#[path = "entry/updates.rs"]
mod updates;

type Target = (&'static str, fn() -> Vec<Vec<u8>>, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("access", access::seeds, access::run),
    ("addresses", addresses::seeds, addresses::run),
    ("answers", answers::seeds, answers::run),
    ("boxes", boxes::seeds, boxes::run),
    ("frames", frames::seeds, frames::run),
    ("handshakes", handshakes::seeds, handshakes::run),
    ("policies", policies::seeds, policies::run),
    ("records", records::seeds, records::run),
    ("requests", requests::seeds, requests::run),
    ("updates", updates::seeds, updates::run),
];

fn main() -> io::Result<()> {
    for (name, seeds, run) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        fs::create_dir_all(&corpus)?;
        for (number, seed) in seeds().iter().enumerate() {
            run(seed);
            fs::write(corpus.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
