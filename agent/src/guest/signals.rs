//! Names of signals, as in `kill -l`, without SIG. The numbers are those of
//! x86-64 and arm64, which agree.

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

pub fn name(signal: i32) -> String {
    let known = usize::try_from(signal - 1)
        .ok()
        .and_then(|at| NAMES.get(at));
    known.map_or_else(|| signal.to_string(), |name| (*name).to_owned())
}

/// A signal by name (with or without SIG, in any case) or number.
pub fn number(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    match NAMES.iter().position(|name| *name == bare) {
        Some(at) => Some(at as i32 + 1),
        None => bare.parse().ok().filter(|number| (1..=64).contains(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for signal in 1..=31 {
            assert_eq!(number(&name(signal)), Some(signal));
        }
        assert_eq!(
            (number("sigterm"), number("9"), number("64")),
            (Some(15), Some(9), Some(64))
        );
        for bad in ["", "SIG", "0", "65", "-1", "NOPE"] {
            assert_eq!(number(bad), None);
        }
    }
}
