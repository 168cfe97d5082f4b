//! From a tree to a program for the machine, and what is known of every match
//! beforehand: the letters it may begin with, and a text it must contain.

use super::class::Class;
use super::letters::fold;
use super::parse::{Case, Node};

/// Most instructions of a program.
const MAX_PROGRAM: usize = 4096;
/// Groups whose place is told: `$0` to `$9`.
pub const GROUPS: usize = 10;

#[derive(Clone, Debug)]
pub enum Op {
    Letter(char),
    /// Compared by what case has in common.
    Folded(char),
    Any,
    Class(usize),
    Start,
    End,
    Boundary(bool),
    Save(usize),
    /// The first is preferred.
    Split(usize, usize),
    Jump(usize),
    Match,
}

#[derive(Debug)]
pub struct Program {
    pub ops: Vec<Op>,
    pub classes: Vec<Class>,
    /// The bytes a match may begin with. None: any, or it may be empty.
    pub first: Option<Box<[bool; 256]>>,
    /// A text that every match contains; empty when there is none.
    pub needle: Vec<u8>,
    /// The needle is the whole pattern.
    pub is_literal: bool,
    /// Places told of a match: two for itself, two for each group.
    pub slots: usize,
}

impl Program {
    pub fn new(node: &Node) -> Result<Program, String> {
        let mut program = Program {
            ops: Vec::new(),
            classes: Vec::new(),
            first: None,
            needle: needle(node),
            is_literal: literal(node).is_some(),
            slots: 2,
        };
        program.push(Op::Save(0))?;
        program.compile(node)?;
        program.push(Op::Save(1))?;
        program.push(Op::Match)?;
        program.first = program.first_bytes();
        let saved = program.ops.iter().map(|op| match op {
            Op::Save(slot) => slot + 1,
            _ => 0,
        });
        program.slots = saved.max().unwrap_or(2);
        Ok(program)
    }

    /// A plain text, which is found without the machine unless case is ignored.
    pub fn of_text(text: &str, ignore_case: bool) -> Result<Program, String> {
        if ignore_case {
            let letters = text
                .chars()
                .map(|letter| Node::Letter(letter, Case::Ignored));
            return Program::new(&Node::All(letters.collect()));
        }
        Ok(Program {
            ops: Vec::new(),
            classes: Vec::new(),
            first: None,
            needle: text.as_bytes().to_vec(),
            is_literal: true,
            slots: 2,
        })
    }

    fn push(&mut self, op: Op) -> Result<usize, String> {
        if self.ops.len() >= MAX_PROGRAM {
            let message = format!(
                "pattern: it takes more than {} steps; use fewer or smaller repetitions",
                MAX_PROGRAM
            );
            return Err(message);
        }
        self.ops.push(op);
        Ok(self.ops.len() - 1)
    }

    fn compile(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Empty => {}
            Node::Letter(letter, case) => {
                let folded = fold(*letter);
                let cased = *case == Case::Ignored && (letter.is_alphabetic() || folded != *letter);
                self.push(match cased {
                    true => Op::Folded(folded),
                    false => Op::Letter(*letter),
                })?;
            }
            Node::Any => {
                self.push(Op::Any)?;
            }
            Node::Class(class) => {
                let known = self.classes.iter().position(|known| *known == **class);
                let index = known.unwrap_or(self.classes.len());
                if known.is_none() {
                    self.classes.push((**class).clone());
                }
                self.push(Op::Class(index))?;
            }
            Node::Start => {
                self.push(Op::Start)?;
            }
            Node::End => {
                self.push(Op::End)?;
            }
            Node::Boundary(there) => {
                self.push(Op::Boundary(*there))?;
            }
            Node::Group(node, Some(number)) if *number < GROUPS => {
                self.push(Op::Save(number * 2))?;
                self.compile(node)?;
                self.push(Op::Save(number * 2 + 1))?;
            }
            Node::Group(node, _) => self.compile(node)?,
            Node::All(nodes) => {
                for node in nodes {
                    self.compile(node)?;
                }
            }
            Node::Either(ways) => self.either(ways)?,
            Node::Repeat {
                node,
                least,
                most,
                greedy,
            } => self.repeat(node, *least, *most, *greedy)?,
        }
        Ok(())
    }

    fn either(&mut self, ways: &[Node]) -> Result<(), String> {
        let mut ends = Vec::new();
        for (number, way) in ways.iter().enumerate() {
            if number + 1 == ways.len() {
                self.compile(way)?;
                break;
            }
            let split = self.push(Op::Split(0, 0))?;
            self.compile(way)?;
            ends.push(self.push(Op::Jump(0))?);
            self.ops[split] = Op::Split(split + 1, self.ops.len());
        }
        let end = self.ops.len();
        for jump in ends {
            self.ops[jump] = Op::Jump(end);
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        node: &Node,
        least: u32,
        most: Option<u32>,
        greedy: bool,
    ) -> Result<(), String> {
        let order = |inside: usize, after: usize| match greedy {
            true => Op::Split(inside, after),
            false => Op::Split(after, inside),
        };
        match most {
            None if least == 0 && !may_be_empty(node) => {
                let split = self.push(Op::Split(0, 0))?;
                self.compile(node)?;
                self.push(Op::Jump(split))?;
                self.ops[split] = order(split + 1, self.ops.len());
            }
            // What may be empty must be tried once before it can be done with.
            None if least == 0 => {
                let split = self.push(Op::Split(0, 0))?;
                self.repeat(node, 1, None, greedy)?;
                self.ops[split] = order(split + 1, self.ops.len());
            }
            None => {
                for _ in 1..least {
                    self.compile(node)?;
                }
                let start = self.ops.len();
                self.compile(node)?;
                let split = self.push(Op::Split(0, 0))?;
                self.ops[split] = order(start, split + 1);
            }
            Some(most) => {
                for _ in 0..least {
                    self.compile(node)?;
                }
                let mut splits = Vec::new();
                for _ in least..most {
                    splits.push(self.push(Op::Split(0, 0))?);
                    self.compile(node)?;
                }
                let end = self.ops.len();
                for split in splits {
                    self.ops[split] = order(split + 1, end);
                }
            }
        }
        Ok(())
    }

    /// The bytes a match may begin with; None when it may be empty.
    fn first_bytes(&self) -> Option<Box<[bool; 256]>> {
        let mut first = Box::new([false; 256]);
        let mut seen = vec![false; self.ops.len()];
        let mut queue = vec![0];
        while let Some(at) = queue.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match &self.ops[at] {
                Op::Match => return None,
                Op::Split(a, b) => queue.extend([*a, *b]),
                Op::Jump(to) => queue.push(*to),
                Op::Save(_) | Op::Start | Op::End | Op::Boundary(_) => queue.push(at + 1),
                Op::Any => return None,
                Op::Letter(letter) => {
                    let mut bytes = [0; 4];
                    let encoded = letter.encode_utf8(&mut bytes);
                    first[usize::from(encoded.as_bytes()[0])] = true;
                }
                Op::Folded(letter) => {
                    for code in 0..128u8 {
                        first[usize::from(code)] |= fold(char::from(code)) == *letter;
                    }
                    // Any other letter may fold to it.
                    first[128..].fill(true);
                }
                Op::Class(index) => {
                    for code in 0..128u8 {
                        let letter = Some(char::from(code));
                        first[usize::from(code)] |= self.classes[*index].has(letter);
                    }
                    first[128..].fill(true);
                }
            }
        }
        Some(first)
    }
}

fn may_be_empty(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Start | Node::End | Node::Boundary(_) => true,
        Node::Letter(..) | Node::Any | Node::Class(_) => false,
        Node::Group(node, _) => may_be_empty(node),
        Node::All(nodes) => nodes.iter().all(may_be_empty),
        Node::Either(ways) => ways.iter().any(may_be_empty),
        Node::Repeat { node, least, .. } => *least == 0 || may_be_empty(node),
    }
}

/// The text a node stands for, when it can only be that one.
fn literal(node: &Node) -> Option<String> {
    match node {
        Node::Letter(letter, Case::Exact) => Some(letter.to_string()),
        Node::All(nodes) => nodes.iter().map(literal).collect(),
        _ => None,
    }
}

/// The longest text that every match of a node contains.
fn needle(node: &Node) -> Vec<u8> {
    let mut best = String::new();
    let mut run = String::new();
    let nodes = match node {
        Node::All(nodes) => &nodes[..],
        node => std::slice::from_ref(node),
    };
    for node in nodes {
        match (node, literal(node)) {
            (_, Some(text)) => {
                run.push_str(&text);
                continue;
            }
            (Node::Group(inside, _), None) => {
                let inside = needle(inside);
                if inside.len() > best.len() {
                    best = String::from_utf8_lossy(&inside).into_owned();
                }
            }
            (Node::Repeat { node, least, .. }, None) if *least > 0 => {
                let inside = needle(node);
                if inside.len() > best.len() {
                    best = String::from_utf8_lossy(&inside).into_owned();
                }
            }
            _ => {}
        }
        if run.len() > best.len() {
            best = std::mem::take(&mut run);
        }
        run.clear();
    }
    match run.len() > best.len() {
        true => run.into_bytes(),
        false => best.into_bytes(),
    }
}
