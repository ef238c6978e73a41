#![no_main]

#[path = "../entry/updates.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(
    init: entry::seeds().iter().for_each(|seed| entry::run(seed)),
    |input: &[u8]| entry::run(input)
);
