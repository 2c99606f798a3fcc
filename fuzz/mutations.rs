//! Random changes of a seed, for tests that cannot have a fuzzer: what `cargo fuzz` does without knowing what it covers.

/// Pieces that readers treat in ways of their own.
const PIECES: [&str; 44] = [
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{202e}",
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    " ",
    "\t",
    "#",
    "- ",
    ": ",
    "=",
    "'",
    "-1",
    "0",
    "1e400",
    "-0.0",
    "00",
    "1e-7",
    "18446744073709551615",
    "9007199254740993",
    "0.1234567890123456789012345678901",
    "NaN",
    "data:",
    "../",
    "%2F",
    "$",
    "~",
    "\u{0}",
];

/// A generator of numbers that are random enough for this (`xorshift`).
pub(crate) struct Random(pub u64);

impl Random {
    /// A number below `limit`; 0 when there is none.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0).checked_rem(limit).unwrap_or(0)
    }

    /// A copy of the seed with one to six changes, some of them with parts of another seed.
    pub(crate) fn mutated(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(6) {
            let from = self.below(bytes.len() + 1);
            let length = self.below(12).min(bytes.len() - from);
            let length = if self.below(8) == 0 { self.below(bytes.len() - from + 1) } else { length };
            let put: Vec<u8> = match self.below(6) {
                0 => Vec::new(),
                1 => vec![u8::try_from(self.below(256)).unwrap_or(0)],
                2 => part_of(other, self.below(other.len() + 1), self.below(60)).to_vec(),
                3 => part_of(seed, self.below(seed.len() + 1), self.below(60)).to_vec(),
                _ => PIECES
                    .get(self.below(PIECES.len()))
                    .map_or_else(Vec::new, |piece| piece.as_bytes().to_vec()),
            };
            let replaced = if self.below(3) == 0 { 0 } else { length };
            bytes.splice(from..from + replaced, put);
        }
        bytes
    }
}

fn part_of(bytes: &[u8], from: usize, length: usize) -> &[u8] {
    bytes.get(from..(from + length).min(bytes.len())).unwrap_or_default()
}

/// Reads every seed of a target, then changed ones: some, or as many as `FUZZ_SECONDS` allows.
#[track_caller]
pub(crate) fn check_seeds(folder: &std::path::Path, check: impl Fn(&[u8])) {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| check(seed));
    let seconds: Option<u64> = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let start = std::time::Instant::now();
    let mut random = Random(seconds.map_or(0x5eed_5eed, |_| u64::from(std::process::id()) << 20 | 1));
    let goes_on = |count: usize| match seconds {
        Some(seconds) => start.elapsed().as_secs() < seconds,
        None => count < seeds.len() * 30,
    };
    let mut count = 0;
    while goes_on(count) {
        let (seed, other) = (random.below(seeds.len()), random.below(seeds.len()));
        let input = random.mutated(&seeds[seed], &seeds[other]);
        let one = std::time::Instant::now();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&input)));
        let text = String::from_utf8_lossy(&input);
        assert!(checked.is_ok(), "found after {count}: {input:?}\n{text}");
        assert!(seconds.is_none() || one.elapsed().as_millis() < 5_000, "it hangs: {text}");
        count += 1;
    }
    println!("{}: {count} changed seeds in {} s", folder.display(), start.elapsed().as_secs());
}
