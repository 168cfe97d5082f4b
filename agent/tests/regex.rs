//! The regular expressions, held against those of Python and against the clock.

use caisson_agent::guest::regex::machine::Exhausted;
use caisson_agent::guest::regex::{compile, Machine, Text};
use std::io::Write;
use std::process::{Command, Stdio};

const FUEL: u64 = 1 << 34;

fn text(bytes: &[u8]) -> Text<'_> {
    Text {
        bytes,
        starts: true,
        ends: true,
    }
}

/// The groups of every match, as places of bytes; -1 where a group took no part.
fn all(pattern: &str, bytes: &[u8], groups: usize) -> Vec<Vec<i64>> {
    let program = compile(pattern, false).expect("a pattern");
    let mut machine = Machine::new(&program, FUEL);
    let mut at = 0;
    let mut found = Vec::new();
    while let Some(slots) = machine.find(text(bytes), at).expect("fuel") {
        let places = slots.iter().take(groups * 2 + 2);
        found.push(places.map(|&place| place as i64).collect());
        at = slots[1];
        if slots[0] == slots[1] {
            if at >= bytes.len() {
                break;
            }
            at += 1;
            while bytes.get(at).map_or(false, |byte| byte & 0xc0 == 0x80) {
                at += 1;
            }
        }
    }
    found
}

fn first(pattern: &str, bytes: &[u8]) -> Option<(usize, usize)> {
    let program = compile(pattern, false).expect("a pattern");
    let slots = Machine::new(&program, FUEL)
        .find(text(bytes), 0)
        .expect("fuel")?;
    Some((slots[0], slots[1]))
}

/// A small generator (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    /// A pattern, whether it may match nothing, and whether all it repeats
    /// without end takes something at every turn.
    fn pattern(&mut self, depth: usize, groups: &mut usize) -> (String, bool, bool) {
        const ATOMS: [&str; 22] = [
            "a", "b", "c", "é", "1", "_", ".", "[ab]", "[^a]", "[a-cé]", "\\w", "\\d", "\\s",
            "\\W", "[\\d_]", "\\b", "\\B", "^", "$", "\\.", "-", "[^\\w]",
        ];
        let mut pattern = String::new();
        let (mut empty, mut any_empty, mut strict) = (true, false, true);
        for _ in 0..=self.below(4) {
            let mut atom = self.pick(&ATOMS).to_owned();
            let position = ["\\b", "\\B", "^", "$"].contains(&atom.as_str());
            let mut nothing = position;
            let group = depth > 0 && self.below(3) == 0;
            if group {
                let open = self.pick(&["(?:", "(", "("]);
                *groups += usize::from(open == "(");
                let (inside, inside_empty, inside_strict) = self.pattern(depth - 1, groups);
                atom = format!("{}{})", open, inside);
                nothing = inside_empty;
                strict &= inside_strict;
            }
            pattern.push_str(&atom);
            if (group || !position) && self.below(3) == 0 {
                let repeat = self.pick(&["*", "+", "?", "{2}", "{1,2}", "{0,3}", "{1,}"]);
                pattern.push_str(repeat);
                strict &= !(nothing && ["*", "+", "{1,}"].contains(&repeat));
                nothing |= ["*", "?", "{0,3}"].contains(&repeat);
                if self.below(3) == 0 {
                    pattern.push('?');
                }
            }
            empty &= nothing;
            if self.below(6) == 0 {
                pattern.push('|');
                any_empty |= empty;
                empty = true;
            }
        }
        (pattern, empty || any_empty, strict)
    }

    fn text(&mut self) -> String {
        const LETTERS: [&str; 14] = [
            "a", "a", "a", "b", "b", "c", "é", "1", "2", "_", " ", "-", ".", "É",
        ];
        (0..self.below(12)).map(|_| self.pick(&LETTERS)).collect()
    }
}

/// Answers lines of `hex pattern, hex text` with the places of all groups of all matches, in bytes.
const PYTHON: &str = r#"
import re, signal, sys
# Python takes for ever over some of them. Its own time counts, not that of others on the machine.
def late(*_): raise TimeoutError
signal.signal(signal.SIGVTALRM, late)
for line in sys.stdin:
    pattern, text = [bytes.fromhex(part).decode() for part in line.rstrip('\n').split(',')]
    at = [0]
    for letter in text: at.append(at[-1] + len(letter.encode()))
    place = lambda n: -1 if n < 0 else at[n]
    found, p, r = [], 0, re.compile(pattern)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.5)
    try:
        # From an empty match it goes on one letter further, as in JavaScript.
        while p <= len(text) and (m := r.search(text, p)):
            p = m.end() + (m.end() == m.start())
            spans = [m.span(n) for n in range(0, (m.re.groups or 0) + 1)][:10]
            found.append(' '.join(f'{place(a)} {place(b)}' for a, b in spans))
    except TimeoutError: found = ["late"]
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    print(';'.join(found))
"#;

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{:02x}", byte)).collect()
}

/// The same matches, with the same groups. Where something is repeated that may
/// take nothing, engines differ in how often they do; not in where they begin.
fn same(found: &[Vec<i64>], expected: &[Vec<i64>], strict: bool) -> bool {
    let begin = |list: &[Vec<i64>]| list.first().map(|first| first[0]);
    match strict {
        true => found == expected,
        false => begin(found) == begin(expected),
    }
}

#[test]
fn python_finds_the_same() {
    let python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut python = match python {
        Ok(python) => python,
        Err(error) => {
            eprintln!("skipped, no python3: {}", error);
            return assert!(std::env::var_os("REQUIRE_PYTHON").is_none());
        }
    };
    let mut random = Random(20_251_125);
    let mut cases = Vec::new();
    for _ in 0..2500 {
        let mut groups = 0;
        let (pattern, _, strict) = random.pattern(2, &mut groups);
        for _ in 0..3 {
            // Of `\\B` in an empty text Python has an opinion of its own.
            let text = format!("{}{}", random.text(), random.pick(&["a", "é", " "]));
            cases.push((pattern.clone(), text, groups.min(9), strict));
        }
    }
    let lines: String = cases
        .iter()
        .map(|(pattern, text, ..)| format!("{},{}\n", hex(pattern), hex(text)))
        .collect();
    let mut input = python.stdin.take().expect("stdin");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().expect("python3");
    writer.join().expect("writer").expect("written");
    let answers = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), cases.len());
    let mut matched = 0;
    let mut wrong = Vec::new();
    for ((pattern, text, groups, strict), answer) in cases.iter().zip(answers) {
        if answer == "late" {
            continue;
        }
        let expected: Vec<Vec<i64>> = answer
            .split(';')
            .filter(|found| !found.is_empty())
            .map(|found| {
                found
                    .split(' ')
                    .map(|n| n.parse().expect("number"))
                    .collect()
            })
            .collect();
        let found = all(pattern, text.as_bytes(), *groups);
        matched += found.len();
        if !same(&found, &expected, *strict) {
            wrong.push(format!(
                "{:?} in {:?}: {:?}, Python {:?}",
                pattern, text, found, expected
            ));
        }
    }
    println!(
        "{} cases, {} matches, {} differ",
        cases.len(),
        matched,
        wrong.len()
    );
    for line in wrong.iter().take(30) {
        println!("{}", line);
    }
    assert!(matched > 8000);
    assert!(wrong.is_empty());
}

#[test]
fn what_makes_others_hang_is_instant_here() {
    let long = vec![b'a'; 50_000];
    for pattern in [
        "(a*)*b",
        "(a|a)*b",
        "(a|aa)+$b",
        "(.*)(.*)(.*)(.*)x",
        "a?a?a?a?a?a?a?a?aaaaaaaab",
    ] {
        assert_eq!(first(pattern, &long), None, "{}", pattern);
    }
    assert_eq!(first("(a|aa)+$", &long), Some((0, 50_000)));
    assert_eq!(first("(?:a{0,30}){0,30}b", &long[..2000]), None);
}

#[test]
fn fuel_bounds_any_match() {
    let program = compile("(?:a|b|c|d|e|f)*[^a]{200}[xy]", false).expect("a pattern");
    let mut machine = Machine::new(&program, 100_000);
    let long = vec![b'b'; 1 << 20];
    assert_eq!(machine.find(text(&long), 0), Err(Exhausted));
}

#[test]
fn bytes_that_are_no_letters_are_matched_one_by_one() {
    let bytes = b"a\xff\xfe\xc3b\xc3\xa9";
    assert_eq!(first("a...b", bytes), Some((0, 5)));
    assert_eq!(first("[^x]{5}é", bytes), Some((0, 7)));
    assert_eq!(first("\\w\\W\\W\\W\\w", bytes), Some((0, 5)));
    assert_eq!(first("b.$", bytes), Some((4, 7)));
    assert_eq!(first("\u{fffd}", bytes), None);
}

#[test]
fn case_is_ignored_where_asked() {
    let find = |pattern: &str, ignore: bool, text_: &str| {
        let program = compile(pattern, ignore).expect("a pattern");
        let found = Machine::new(&program, FUEL).find(text(text_.as_bytes()), 0);
        found.expect("fuel").is_some()
    };
    for (pattern, ignore, text, expected) in [
        ("straße", true, "STRAßE", true),
        ("É", true, "é", true),
        ("é", false, "É", false),
        ("[a-c]+x", true, "ABCX", true),
        ("[^a]", true, "A", false),
        ("(?i)abc", false, "aBC", true),
        ("(?i:a)b", false, "Ab", true),
        ("(?i:a)b", false, "AB", false),
        ("((?i)a)b", false, "AB", false),
        ("Σ", true, "ς", true),
        ("K", true, "\u{212a}", true),
    ] {
        assert_eq!(
            find(pattern, ignore, text),
            expected,
            "{} {}",
            pattern,
            text
        );
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (pattern, says) in [
        ("", "1 to 8192"),
        ("a(b", "character 4: a group is not closed"),
        ("ab)", "character 3: there is no group to close"),
        ("*a", "character 1: there is nothing to repeat"),
        ("a|*", "character 3: there is nothing to repeat"),
        ("a**", "character 3: what is repeated already"),
        ("[a", "character 1: a class is not closed"),
        ("[b-a]", "the wrong way round"),
        ("[a-\\d]", "from letter to letter"),
        ("[[:alpha:]]", "names of classes"),
        ("(a)\\1", "character 5: references"),
        ("(?=a)", "character 2: of the groups"),
        ("(?<n>a)", "of the groups"),
        ("\\q", "character 2: this letter has no meaning"),
        ("a\\", "a backslash at the end"),
        ("\\x{110000}", "a letter of Unicode"),
        ("a{3,2}", "the most is less"),
        ("a{2000}", "more than 1000 repetitions"),
        ("(?:a{1000}){1000}", "more than 4096 steps"),
        ("^*", "a position cannot be repeated"),
    ] {
        let message = compile(pattern, false).expect_err(pattern);
        assert!(message.contains(says), "{}: {}", pattern, message);
    }
    let deep = format!("{}a{}", "(".repeat(61), ")".repeat(61));
    assert!(compile(&deep, false)
        .expect_err("depth")
        .contains("groups within groups"));
    // Braces that are no counts are letters, as code has many.
    for (pattern, text) in [
        ("f() {".replace("()", "\\(\\)"), "f() {"),
        ("a{,2}".into(), "a{,2}"),
        ("x{y}".into(), "x{y}"),
    ] {
        assert_eq!(
            first(&pattern, text.as_bytes()),
            Some((0, text.len())),
            "{}",
            pattern
        );
    }
}
