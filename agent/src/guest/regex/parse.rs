//! From a pattern to a tree, by descent; the depth of groups is bounded.

use super::class::{Class, Item};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 8192;
/// Groups within groups.
const MAX_DEPTH: usize = 60;
/// Most repetitions of one thing that a pattern may ask for.
const MAX_COUNT: u32 = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Empty,
    Letter(char, Case),
    Any,
    Class(Box<Class>),
    Start,
    End,
    /// `\b`, or `\B`.
    Boundary(bool),
    /// With the number of the group, unless it does not capture.
    Group(Box<Node>, Option<usize>),
    All(Vec<Node>),
    Either(Vec<Node>),
    Repeat {
        node: Box<Node>,
        least: u32,
        most: Option<u32>,
        greedy: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Exact,
    Ignored,
}

struct Parser {
    letters: Vec<char>,
    at: usize,
    groups: usize,
    depth: usize,
    ignore_case: bool,
}

pub fn parse(pattern: &str, ignore_case: bool) -> Result<Node, String> {
    if pattern.is_empty() || pattern.len() > MAX_PATTERN {
        return Err(format!("pattern: expected 1 to {} bytes", MAX_PATTERN));
    }
    let mut parser = Parser {
        letters: pattern.chars().collect(),
        at: 0,
        groups: 0,
        depth: 0,
        ignore_case,
    };
    let node = parser.either()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.wrong("there is no group to close; write \\)")),
    }
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek();
        self.at += usize::from(letter.is_some());
        letter
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.letters.get(self.at..).unwrap_or(&[]);
        let here = text.chars().count();
        let same = rest.len() >= here && text.chars().zip(rest).all(|(a, b)| a == *b);
        if same {
            self.at += here;
        }
        same
    }

    /// What is wrong just here, by the number of the letter.
    fn wrong(&self, what: &str) -> String {
        format!("pattern: at character {}: {}", self.at + 1, what)
    }

    fn case(&self) -> Case {
        match self.ignore_case {
            true => Case::Ignored,
            false => Case::Exact,
        }
    }

    fn either(&mut self) -> Result<Node, String> {
        let mut ways = vec![self.all()?];
        while self.eat("|") {
            ways.push(self.all()?);
        }
        Ok(match ways.len() {
            1 => ways.remove(0),
            _ => Node::Either(ways),
        })
    }

    fn all(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(letter) = self.peek() {
            if letter == '|' || letter == ')' {
                break;
            }
            if self.eat("(?i)") {
                self.ignore_case = true; // to the end of the group
                continue;
            }
            let node = self.one()?;
            nodes.push(self.repeated(node)?);
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::All(nodes),
        })
    }

    fn one(&mut self) -> Result<Node, String> {
        let start = self.at;
        match self.next() {
            Some('(') => self.group(),
            Some('[') => self.class(),
            Some('.') => Ok(Node::Any),
            Some('^') => Ok(Node::Start),
            Some('$') => Ok(Node::End),
            Some('\\') => self.escape(),
            Some('*' | '+' | '?') => {
                self.at = start;
                Err(self.wrong("there is nothing to repeat; write a backslash before it"))
            }
            Some(letter) => Ok(Node::Letter(letter, self.case())),
            None => Ok(Node::Empty),
        }
    }

    fn group(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(&format!("more than {} groups within groups", MAX_DEPTH)));
        }
        let outside = self.ignore_case;
        let number = if self.eat("?:") {
            None
        } else if self.eat("?i:") {
            self.ignore_case = true;
            None
        } else if self.peek() == Some('?') {
            return Err(
                self.wrong("of the groups that begin with ? only (?:…), (?i:…) and (?i) are known")
            );
        } else {
            self.groups += 1;
            Some(self.groups)
        };
        let node = self.either()?;
        if !self.eat(")") {
            return Err(self.wrong("a group is not closed; write \\( for a parenthesis"));
        }
        self.ignore_case = outside;
        self.depth -= 1;
        Ok(Node::Group(Box::new(node), number))
    }

    /// Takes the `*`, `+`, `?` or `{m,n}` behind a node.
    fn repeated(&mut self, node: Node) -> Result<Node, String> {
        let start = self.at;
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.counts()? {
                Some(counts) => counts,
                None => return Ok(node), // a brace like any letter
            },
            _ => return Ok(node),
        };
        if self.at == start {
            self.at += 1;
        }
        if matches!(node, Node::Start | Node::End | Node::Boundary(_)) {
            self.at = start;
            return Err(self.wrong("a position cannot be repeated"));
        }
        let greedy = !self.eat("?");
        if let Some('*' | '+' | '?') = self.peek() {
            return Err(self.wrong("what is repeated already is repeated by a group: (?:…)"));
        }
        Ok(Node::Repeat {
            node: Box::new(node),
            least,
            most,
            greedy,
        })
    }

    /// `{m}`, `{m,}` or `{m,n}`; None, and nothing taken, when it is none of them.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, String> {
        let rest = self.letters.get(self.at + 1..).unwrap_or(&[]);
        let close = match rest.iter().take(12).position(|letter| *letter == '}') {
            Some(close) => close,
            None => return Ok(None),
        };
        let inside: String = rest.iter().take(close).collect();
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u32>().ok(),
            false => None,
        };
        let counts = match inside.split_once(',') {
            None => number(&inside).map(|count| (count, Some(count))),
            Some((least, "")) => number(least).map(|least| (least, None)),
            Some((least, most)) => number(least).zip(number(most).map(Some)),
        };
        let (least, most) = match counts {
            Some(counts) => counts,
            None => return Ok(None),
        };
        if least > MAX_COUNT || most.map_or(false, |most| most > MAX_COUNT) {
            return Err(self.wrong(&format!("more than {} repetitions", MAX_COUNT)));
        }
        if most.map_or(false, |most| most < least) {
            return Err(self.wrong("the most is less than the least"));
        }
        self.at += close + 2;
        Ok(Some((least, most)))
    }

    fn escape(&mut self) -> Result<Node, String> {
        match self.peek() {
            Some('b') => {
                self.at += 1;
                Ok(Node::Boundary(true))
            }
            Some('B') => {
                self.at += 1;
                Ok(Node::Boundary(false))
            }
            Some('1'..='9') => Err(self.wrong("references to groups cannot be matched")),
            _ => match self.escaped()? {
                Item::Range(letter, _) => Ok(Node::Letter(letter, self.case())),
                item => {
                    let class = Class::new(vec![item], false, false);
                    Ok(Node::Class(Box::new(class)))
                }
            },
        }
    }

    /// What stands behind a backslash, in a class or outside: a letter, as a
    /// range of one, or a set.
    fn escaped(&mut self) -> Result<Item, String> {
        let start = self.at;
        let letter = match self.next() {
            Some(letter) => letter,
            None => return Err(self.wrong("a backslash at the end escapes nothing; write \\\\")),
        };
        let not = |item: Item| Item::Not(Box::new(item));
        let same = |letter: char| Item::Range(letter, letter);
        Ok(match letter {
            'd' => Item::Digit,
            'D' => not(Item::Digit),
            'w' => Item::Word,
            'W' => not(Item::Word),
            's' => Item::Space,
            'S' => not(Item::Space),
            't' => same('\t'),
            'r' => same('\r'),
            'n' => same('\n'),
            'f' => same('\x0c'),
            'v' => same('\x0b'),
            '0' => same('\0'),
            'x' => same(self.hex()?),
            letter if letter.is_alphanumeric() => {
                self.at = start;
                return Err(self.wrong("this letter has no meaning behind a backslash"));
            }
            letter => same(letter),
        })
    }

    /// `\xHH` or `\x{H…}`.
    fn hex(&mut self) -> Result<char, String> {
        let mut digits = String::new();
        if self.eat("{") {
            while let Some(letter) = self.next() {
                if letter == '}' {
                    break;
                }
                digits.push(letter);
            }
        } else {
            digits.extend(self.next());
            digits.extend(self.next());
        }
        let valid =
            (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let letter = match valid {
            true => u32::from_str_radix(&digits, 16)
                .ok()
                .and_then(char::from_u32),
            false => None,
        };
        letter.ok_or_else(|| self.wrong("expected \\xHH or \\x{H…} with a letter of Unicode"))
    }

    fn class(&mut self) -> Result<Node, String> {
        let start = self.at;
        let unclosed = |parser: &mut Parser| {
            parser.at = start - 1;
            parser.wrong("a class is not closed; write \\[ for a bracket")
        };
        let negated = self.eat("^");
        let first = self.at;
        let mut items = Vec::new();
        loop {
            let low = match self.next() {
                None => return Err(unclosed(self)),
                Some(']') if self.at - 1 > first => break,
                Some('[') if self.peek() == Some(':') => {
                    return Err(self.wrong("names of classes are not known; write \\w, \\d or \\s"));
                }
                Some('\\') => self.escaped()?,
                Some(letter) => Item::Range(letter, letter),
            };
            // A range needs something behind its hyphen.
            let behind = self.letters.get(self.at + 1);
            if self.peek() != Some('-') || matches!(behind, None | Some(']')) {
                items.push(low);
                continue;
            }
            self.at += 1;
            let high = match self.next() {
                Some('\\') => self.escaped()?,
                Some(letter) => Item::Range(letter, letter),
                None => return Err(unclosed(self)),
            };
            match (low, high) {
                (Item::Range(low, _), Item::Range(high, _)) if low <= high => {
                    items.push(Item::Range(low, high));
                }
                (Item::Range(..), Item::Range(..)) => {
                    return Err(self.wrong("the range is the wrong way round"));
                }
                _ => return Err(self.wrong("a range goes from letter to letter")),
            }
        }
        let class = Class::new(items, negated, self.ignore_case);
        Ok(Node::Class(Box::new(class)))
    }
}
