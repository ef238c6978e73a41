//! Inputs that resemble good ones: seeded, the same in each run.

/// How many inputs are made.
const INPUTS: u64 = 4000;
/// Bytes that are special to many readers.
const SPECIAL: &[u8] = b"\0\x01\x04\x7f\x80\xff\"'\\/%&?+,.:;{}[]<>#\r\n\t 0-9eE";

/// A generator of numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `limit`; zero when there is none.
    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("64 bits").max(1);
        usize::try_from(self.next() % limit).expect("below a usize")
    }
}

/// Calls `run` with each seed, and with mutations of them.
pub fn thousands(seeds: &[Vec<u8>], mut run: impl FnMut(&[u8])) {
    seeds.iter().for_each(|seed| run(seed));
    for number in 1..=INPUTS {
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut input, seeds, &mut random);
        }
        run(&input);
    }
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    let length = random.below((input.len() - at).min(64) + 1);
    match random.below(8) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = SPECIAL[random.below(SPECIAL.len())],
        2 => input.truncate(at),
        3 => drop(input.drain(at..at + length)),
        4 => {
            let piece = input[at..at + length].to_vec();
            input.splice(at..at, piece);
        }
        5 => {
            let other = &seeds[random.below(seeds.len())];
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len())..]);
        }
        6 => {
            let byte = SPECIAL[random.below(SPECIAL.len())];
            input.splice(at..at, vec![byte; random.below(300)]);
        }
        _ => input.insert(at, u8::try_from(random.below(256)).expect("a byte")),
    }
}
