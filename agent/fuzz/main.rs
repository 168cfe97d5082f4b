//! Deterministic fuzzing of everything that parses hostile bytes. The short
//! form runs with `cargo test`; `CAISSON_FUZZ_CASES` makes it longer and
//! `CAISSON_FUZZ_SEED` replays the case a failure has printed.

mod archives;
mod random;
mod regex;
mod targets;
mod whole;

use random::Random;

/// Cases per target in the short form.
const SHORT: u64 = 3000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Prints the seed of the case that fails.
struct Reporter<'a>(&'a str, u64);

impl Drop for Reporter<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: replay with CAISSON_FUZZ_SEED={}", self.0, self.1);
        }
    }
}

/// Runs one target over many seeds, or over the one asked for.
pub fn fuzz(name: &str, share: u64, mut case: impl FnMut(&mut Random)) {
    if let Some(seed) = setting("CAISSON_FUZZ_SEED") {
        let _reporter = Reporter(name, seed);
        return case(&mut Random::new(seed));
    }
    let cases = setting("CAISSON_FUZZ_CASES").unwrap_or(SHORT) / share;
    for seed in 1..=cases {
        let _reporter = Reporter(name, seed);
        case(&mut Random::new(seed));
    }
}
