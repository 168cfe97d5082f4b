//! Patterns and texts of all kinds: the machine never panics, and its short cuts
//! change nothing about what is found.

use crate::fuzz;
use crate::random::Random;
use caisson_agent::guest::regex::{compile, Machine, Program, Slots, Text};

const ALPHABET: [&str; 30] = [
    "a", "b", "é", "1", "_", " ", ".", "*", "+", "?", "|", "(", ")", "(?:", "(?i)", "[", "]", "^",
    "-", "$", "\\", "\\w", "\\d", "\\b", "\\B", "{1,3}", "{2}", "{", "}", "\\x41",
];

fn text(random: &mut Random) -> Vec<u8> {
    let letters = random.text(&["a", "b", "A", "é", "1", "_", " ", "É"], 40);
    let mut bytes = letters.into_bytes();
    if random.chance(3) {
        random.mutate(&mut bytes);
    }
    bytes
}

fn find(program: &Program, bytes: &[u8], from: usize) -> Option<Slots> {
    let text = Text {
        bytes,
        starts: true,
        ends: true,
    };
    Machine::new(program, 10_000_000)
        .find(text, from)
        .expect("enough fuel")
}

#[test]
fn patterns() {
    fuzz("patterns", 1, |random| {
        let pattern = random.text(&ALPHABET, 12);
        let mut program = match compile(&pattern, random.chance(2)) {
            Ok(program) => program,
            Err(message) => return assert!(message.starts_with("pattern: ")),
        };
        let bytes = text(random);
        let from = random.below(bytes.len() + 1);
        let found = find(&program, &bytes, from);
        if let Some(slots) = found {
            assert!(from <= slots[0] && slots[0] <= slots[1] && slots[1] <= bytes.len());
            for group in slots.chunks(2) {
                let none = group == [usize::MAX, usize::MAX];
                let inside = group[0] <= group[1] && group[1] <= bytes.len();
                assert!(none || inside, "{} {:?}", pattern, slots);
            }
        }
        // Without what is known beforehand the machine finds the same.
        if !program.is_literal {
            program.needle.clear();
            program.first = None;
            assert_eq!(find(&program, &bytes, from), found, "{}", pattern);
        }
    });
}

#[test]
fn escaped_text_is_found_where_it_is() {
    fuzz("escaped_text", 1, |random| {
        let plain = random.text(&["a", "b", ".", "*", "(", "[", "\\", "é", "$"], 6);
        if plain.is_empty() {
            return;
        }
        let escape = |letter: char| match letter.is_alphanumeric() {
            true => letter.to_string(),
            false => format!("\\{}", letter),
        };
        let pattern: String = plain.chars().map(escape).collect();
        let program = compile(&pattern, false).expect("a pattern");
        let around = [
            random.text(&["a", ".", "é"], 8),
            random.text(&["b", "("], 8),
        ];
        let bytes = format!("{}{}{}", around[0], plain, around[1]);
        let place = bytes.find(&plain);
        let found = find(&program, bytes.as_bytes(), 0);
        assert_eq!(found.map(|slots| slots[0]), place, "{}", pattern);
    });
}
