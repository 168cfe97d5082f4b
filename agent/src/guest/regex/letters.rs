//! Letters of bytes that should be UTF-8, and what they are.

/// The letter at `at`, and its length; None as a letter: a byte that is not UTF-8.
pub fn letter_at(text: &[u8], at: usize) -> (Option<char>, usize) {
    let first = match text.get(at) {
        Some(&first) if first < 0x80 => return (Some(char::from(first)), 1),
        Some(&first) => first,
        None => return (None, 0),
    };
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return (None, 1),
    };
    let letter = text
        .get(at..at + length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next());
    match letter {
        Some(letter) => (Some(letter), length),
        None => (None, 1),
    }
}

/// The letter that ends at `at`.
pub fn letter_before(text: &[u8], at: usize) -> Option<char> {
    for length in 1..=4.min(at) {
        let from = at - length;
        if text.get(from).map_or(true, |byte| byte & 0xc0 == 0x80) {
            continue;
        }
        let (letter, found) = letter_at(text, from);
        return letter.filter(|_| found == length);
    }
    None
}

/// `\w`: letters and digits of every language, and `_`.
pub fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// `\d`: 0 to 9.
pub fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

/// `\s`
pub fn is_space(letter: char) -> bool {
    letter.is_whitespace()
}

/// What letters that differ only in case have in common.
pub fn fold(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    single(
        single(letter, letter.to_uppercase()),
        single(letter, letter.to_uppercase()).to_lowercase(),
    )
}

/// A mapping that is one letter, or the letter itself.
fn single(letter: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(mapped), None) => mapped,
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_found_from_both_sides() {
        let text = "a\u{e9}\u{20ac}\u{1f600}".as_bytes();
        let mut at = 0;
        let mut seen = String::new();
        while at < text.len() {
            let (letter, length) = letter_at(text, at);
            at += length;
            assert_eq!(letter_before(text, at), letter);
            seen.extend(letter);
        }
        assert_eq!(seen.as_bytes(), text);
        for broken in [&b"\xff"[..], b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\x80"] {
            assert_eq!(letter_at(broken, 0), (None, 1));
            assert_eq!(letter_before(broken, broken.len()), None);
        }
    }

    #[test]
    fn case_is_folded_one_letter_at_a_time() {
        for (a, b) in [
            ('A', 'a'),
            ('\u{c9}', '\u{e9}'),
            ('\u{3a3}', '\u{3c2}'),
            ('K', '\u{212a}'),
        ] {
            assert_eq!(fold(a), fold(b), "{} {}", a, b);
        }
        assert_ne!(fold('a'), fold('b'));
        assert_eq!(fold('\u{df}'), '\u{df}');
    }
}
