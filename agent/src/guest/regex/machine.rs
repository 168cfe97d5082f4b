//! The machine: all readings of a pattern at once, one letter at a time. Each
//! instruction is in the list of a position at most once, so a match costs at
//! most the product of text and program; the list is in order of preference.

use super::letters::{fold, is_word, letter_at, letter_before};
use super::program::{Op, Program, GROUPS};
use crate::sys::memory;

const SLOTS: usize = GROUPS * 2;
/// Where a group was matched, from and to; `NONE` where it was not.
pub type Slots = [usize; SLOTS];
pub const NONE: usize = usize::MAX;

/// A line, or a piece of one that is too long.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub bytes: &'a [u8],
    /// Whether it begins where the line does, and ends where it does.
    pub starts: bool,
    pub ends: bool,
}

/// The text takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

/// The readings at one position.
#[derive(Default)]
struct Readings {
    /// Instructions, the preferred first.
    ops: Vec<usize>,
    /// The groups of each, one after the other.
    slots: Vec<usize>,
    /// Where an instruction is in `ops`, if it is.
    places: Vec<usize>,
}

impl Readings {
    fn clear(&mut self, size: usize) {
        self.ops.clear();
        self.slots.clear();
        self.places.resize(size, 0);
    }

    fn has(&self, op: usize) -> bool {
        self.ops.get(self.places[op]) == Some(&op)
    }

    fn add(&mut self, op: usize, slots: &[usize]) {
        self.places[op] = self.ops.len();
        self.ops.push(op);
        self.slots.extend_from_slice(slots);
    }
}

/// What is still to be done while instructions are followed.
enum Todo {
    Follow(usize),
    /// Gives a group its place from before.
    Restore(usize, usize),
}

pub struct Machine<'p> {
    program: &'p Program,
    now: Readings,
    next: Readings,
    stack: Vec<Todo>,
    /// The groups of the reading that is followed.
    slots: Vec<usize>,
    /// How many steps it may still take.
    pub fuel: u64,
}

impl<'p> Machine<'p> {
    pub fn new(program: &'p Program, fuel: u64) -> Machine<'p> {
        Machine {
            program,
            now: Readings::default(),
            next: Readings::default(),
            stack: Vec::new(),
            slots: vec![NONE; program.slots],
            fuel,
        }
    }

    /// The leftmost match that begins at `from` or later.
    pub fn find(&mut self, text: Text<'_>, from: usize) -> Result<Option<Slots>, Exhausted> {
        let program = self.program;
        if program.is_literal {
            return Ok(memory::find(text.bytes, &program.needle, from).map(|at| {
                let mut slots = [NONE; SLOTS];
                slots[0] = at;
                slots[1] = at + program.needle.len();
                slots
            }));
        }
        let needle = &program.needle;
        if !needle.is_empty() && memory::find(text.bytes, needle, from).is_none() {
            return Ok(None);
        }
        let size = program.ops.len();
        let width = program.slots;
        self.now.clear(size);
        self.next.clear(size);
        let mut found = None;
        let mut at = from;
        loop {
            if self.now.ops.is_empty() {
                if found.is_some() {
                    break;
                }
                if let Some(first) = &program.first {
                    let rest = text.bytes.get(at..).unwrap_or(&[]);
                    let begin = rest.iter().position(|&byte| first[usize::from(byte)]);
                    match begin {
                        Some(skipped) => at += skipped,
                        None => break,
                    }
                }
            }
            if found.is_none() {
                self.slots.fill(NONE);
                self.follow(text, at, 0, false);
            }
            let (letter, length) = letter_at(text.bytes, at);
            self.fuel = self
                .fuel
                .checked_sub(self.now.ops.len() as u64 + 1)
                .ok_or(Exhausted)?;
            for reading in 0..self.now.ops.len() {
                let op = self.now.ops[reading];
                let takes = match &program.ops[op] {
                    Op::Match => {
                        let mut slots = [NONE; SLOTS];
                        let from = reading * width;
                        slots[..width].copy_from_slice(&self.now.slots[from..from + width]);
                        found = Some(slots);
                        break; // what follows is not preferred
                    }
                    Op::Letter(expected) => letter == Some(*expected),
                    Op::Folded(expected) => letter.map(fold) == Some(*expected),
                    Op::Any => true,
                    Op::Class(index) => program.classes[*index].has(letter),
                    _ => false,
                };
                if takes && length > 0 {
                    let from = reading * width;
                    self.slots
                        .copy_from_slice(&self.now.slots[from..from + width]);
                    self.follow(text, at + length, op + 1, true);
                }
            }
            if length == 0 {
                break;
            }
            at += length;
            std::mem::swap(&mut self.now, &mut self.next);
            self.next.clear(size);
        }
        Ok(found)
    }

    /// Adds what can be reached from an instruction without taking a letter.
    fn follow(&mut self, text: Text<'_>, at: usize, op: usize, later: bool) {
        let readings = match later {
            true => &mut self.next,
            false => &mut self.now,
        };
        self.stack.push(Todo::Follow(op));
        while let Some(todo) = self.stack.pop() {
            let op = match todo {
                Todo::Follow(op) => op,
                Todo::Restore(slot, before) => {
                    self.slots[slot] = before;
                    continue;
                }
            };
            if readings.has(op) {
                continue;
            }
            readings.add(op, &self.slots);
            match &self.program.ops[op] {
                Op::Jump(to) => self.stack.push(Todo::Follow(*to)),
                Op::Split(first, second) => {
                    self.stack.push(Todo::Follow(*second));
                    self.stack.push(Todo::Follow(*first));
                }
                Op::Save(slot) => {
                    if let Some(place) = self.slots.get_mut(*slot) {
                        self.stack.push(Todo::Restore(*slot, *place));
                        *place = at;
                    }
                    self.stack.push(Todo::Follow(op + 1));
                }
                Op::Start if at == 0 && text.starts => self.stack.push(Todo::Follow(op + 1)),
                Op::End if at == text.bytes.len() && text.ends => {
                    self.stack.push(Todo::Follow(op + 1));
                }
                Op::Boundary(there) if *there == is_boundary(text.bytes, at) => {
                    self.stack.push(Todo::Follow(op + 1));
                }
                _ => {}
            }
        }
    }
}

fn is_boundary(text: &[u8], at: usize) -> bool {
    let before = letter_before(text, at).map_or(false, is_word);
    let after = letter_at(text, at).0.map_or(false, is_word);
    before != after
}
