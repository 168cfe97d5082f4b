//! Patterns over paths: `*`, `?`, `[..]` within a component, `**` for any
//! number of directories. A leading dot is matched only by a dot in the pattern.

use super::files::walk::Found;

/// Most components of a pattern: the states of a walk are bits of one word.
const MAX_PARTS: usize = 60;

#[derive(Debug)]
enum Token {
    Literal(char),
    Any,
    Star,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

#[derive(Debug)]
enum Part {
    /// `**`
    Deep,
    Name(Vec<Token>),
}

#[derive(Debug)]
pub struct Glob {
    parts: Vec<Part>,
    directories_only: bool,
}

/// Where a walk is in the pattern after one name: bit i means that part i is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Reached by a part that matched the name.
    pub matched: u64,
    /// Reached by staying in `**`.
    pub stayed: u64,
}

impl Step {
    pub fn all(self) -> u64 {
        self.matched | self.stayed
    }
}

impl Glob {
    pub fn parse(pattern: &str) -> Result<Glob, String> {
        if pattern.is_empty() || pattern.len() > 4095 || pattern.contains('\0') {
            return Err("pattern: expected 1 to 4095 bytes without NUL".into());
        }
        let mut parts: Vec<Part> = Vec::new();
        for text in pattern
            .split('/')
            .filter(|text| !text.is_empty() && *text != ".")
        {
            match text {
                ".." => return Err("pattern: '..' is not allowed".into()),
                "**" if matches!(parts.last(), Some(Part::Deep)) => {}
                "**" => parts.push(Part::Deep),
                text => parts.push(Part::Name(tokens(text))),
            }
        }
        if parts.len() > MAX_PARTS {
            return Err(format!("pattern: more than {} components", MAX_PARTS));
        }
        Ok(Glob {
            parts,
            directories_only: pattern.ends_with('/'),
        })
    }

    /// Removes the leading components without wildcards and returns them.
    pub fn take_literal_prefix(&mut self) -> Vec<String> {
        let literal = |part: &Part| match part {
            Part::Deep => None,
            Part::Name(tokens) => tokens
                .iter()
                .map(|token| match token {
                    Token::Literal(letter) => Some(*letter),
                    _ => None,
                })
                .collect::<Option<String>>(),
        };
        let prefix: Vec<String> = self.parts.iter().map_while(literal).collect();
        self.parts.drain(..prefix.len());
        prefix
    }

    /// Nothing is left to match.
    pub fn is_complete(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn start(&self) -> u64 {
        self.closure(1)
    }

    /// `**` also stands for no directory at all.
    fn closure(&self, mut states: u64) -> u64 {
        for (at, part) in self.parts.iter().enumerate() {
            if states & (1 << at) != 0 && matches!(part, Part::Deep) {
                states |= 1 << (at + 1);
            }
        }
        states
    }

    pub fn advance(&self, states: u64, name: &str) -> Step {
        let letters: Vec<char> = name.chars().collect();
        let mut step = Step::default();
        for (at, part) in self.parts.iter().enumerate() {
            if states & (1 << at) == 0 {
                continue;
            }
            match part {
                Part::Deep if !name.starts_with('.') => step.stayed |= 1 << at,
                Part::Deep => {}
                Part::Name(tokens) if matches(tokens, &letters) => step.matched |= 1 << (at + 1),
                Part::Name(_) => {}
            }
        }
        Step {
            matched: self.closure(step.matched),
            stayed: self.closure(step.stayed),
        }
    }

    pub fn accepts(&self, states: u64) -> bool {
        let end = 1 << self.parts.len();
        // A pattern that ends in `**` matches everything below.
        states & end != 0
    }

    /// The states from which more components must follow.
    pub fn needs_more(&self, states: u64) -> u64 {
        states & ((1 << self.parts.len()) - 1)
    }

    /// Whether it ends in a slash: only directories count.
    pub fn is_for_directories(&self) -> bool {
        self.directories_only
    }

    /// Whether a match must be left out because only directories count.
    pub fn only_directories(&self, found: &Found) -> bool {
        self.directories_only && !found.is_dir()
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        at += 1;
        match letter {
            '*' if matches!(tokens.last(), Some(Token::Star)) => {}
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::Any),
            '\\' => {
                let escaped = letters.get(at).copied().unwrap_or('\\');
                at += 1;
                tokens.push(Token::Literal(escaped));
            }
            '[' => match class(letters.get(at..).unwrap_or(&[])) {
                Some((token, used)) => {
                    tokens.push(token);
                    at += used;
                }
                None => tokens.push(Token::Literal('[')),
            },
            letter => tokens.push(Token::Literal(letter)),
        }
    }
    tokens
}

/// A class behind its bracket, and how many letters it takes; None when it never closes.
fn class(letters: &[char]) -> Option<(Token, usize)> {
    let mut at = 0;
    let negated = matches!(letters.first(), Some('!' | '^'));
    if negated {
        at += 1;
    }
    let first = at;
    let mut ranges = Vec::new();
    loop {
        let letter = *letters.get(at)?;
        if letter == ']' && at > first {
            return Some((Token::Class { negated, ranges }, at + 1));
        }
        match (letters.get(at + 1), letters.get(at + 2)) {
            (Some('-'), Some(&high)) if high != ']' => {
                ranges.push((letter, high));
                at += 3;
            }
            _ => {
                ranges.push((letter, letter));
                at += 1;
            }
        }
    }
}

fn matches_one(token: &Token, letter: char) -> bool {
    match token {
        Token::Literal(expected) => *expected == letter,
        Token::Any => true,
        Token::Star => false,
        Token::Class { negated, ranges } => {
            ranges
                .iter()
                .any(|&(low, high)| low <= letter && letter <= high)
                != *negated
        }
    }
}

/// Matches without recursion: on a mismatch only the last star is retried, so
/// the work is at most the product of both lengths.
fn matches(tokens: &[Token], name: &[char]) -> bool {
    let hidden = name.first() == Some(&'.');
    if hidden && !matches!(tokens.first(), Some(Token::Literal('.'))) {
        return false;
    }
    let (mut at, mut in_name) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match tokens.get(at) {
            Some(Token::Star) => {
                retry = Some((at, in_name));
                at += 1;
            }
            Some(token) if matches_one(token, name[in_name]) => {
                at += 1;
                in_name += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    at = star + 1;
                    in_name = from + 1;
                }
                None => return false,
            },
        }
    }
    tokens
        .get(at..)
        .unwrap_or(&[])
        .iter()
        .all(|token| matches!(token, Token::Star))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a pattern matches a whole relative path.
    fn path_matches(pattern: &str, path: &str) -> bool {
        let glob = Glob::parse(pattern).expect("pattern");
        let states = path.split('/').fold(glob.start(), |states, name| {
            glob.advance(glob.needs_more(states), name).all()
        });
        glob.accepts(states)
    }

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.rs", "main.rs", true),
            ("*.rs", ".hidden.rs", false),
            (".*", ".hidden", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("ü*", "über", true),
            ("*a*b*c", "xaxbxc", true),
            ("*a*b*c", "xaxbx", false),
        ] {
            assert_eq!(
                path_matches(pattern, name),
                expected,
                "{} {}",
                pattern,
                name
            );
        }
    }

    #[test]
    fn double_stars_match_any_depth() {
        for (pattern, path, expected) in [
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("a/**/x", "a/x", true),
            ("a/**/x", "b/x", false),
            ("a/**", "a/b/c", true),
            ("**/b/**/d", "a/b/c/d", true),
            ("**/b/**/d", "a/c/d", false),
            ("**", ".git/config", false),
            ("*/x", "a/b/x", false),
        ] {
            assert_eq!(
                path_matches(pattern, path),
                expected,
                "{} {}",
                pattern,
                path
            );
        }
    }

    #[test]
    fn a_hostile_pattern_costs_little() {
        let pattern = "*a".repeat(1000);
        assert!(!path_matches(&pattern, &"a".repeat(255)));
        assert!(Glob::parse(&"x/".repeat(100)).is_err());
        assert!(Glob::parse("../x").is_err());
    }
}
