//! Sets of letters: `[a-z_]`, `\w`, and what they leave out.

use super::letters::{fold, is_digit, is_space, is_word};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Range(char, char),
    Digit,
    Word,
    Space,
    /// All letters but those of the item.
    Not(Box<Item>),
}

impl Item {
    fn has(&self, letter: char) -> bool {
        match self {
            Item::Range(low, high) => (*low..=*high).contains(&letter),
            Item::Digit => is_digit(letter),
            Item::Word => is_word(letter),
            Item::Space => is_space(letter),
            Item::Not(item) => !item.has(letter),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    pub items: Vec<Item>,
    pub negated: bool,
    pub ignore_case: bool,
    /// The answers for ASCII, since most text is.
    ascii: [bool; 128],
}

impl Class {
    pub fn new(items: Vec<Item>, negated: bool, ignore_case: bool) -> Class {
        let mut class = Class {
            items,
            negated,
            ignore_case,
            ascii: [false; 128],
        };
        for code in 0..128u8 {
            class.ascii[usize::from(code)] = class.look_up(char::from(code));
        }
        class
    }

    fn look_up(&self, letter: char) -> bool {
        let one = |letter: char| self.items.iter().any(|item| item.has(letter));
        let mut has = one(letter);
        if self.ignore_case && !has {
            let folded = fold(letter);
            has = one(folded) || folded.to_uppercase().any(one) || folded.to_lowercase().any(one);
        }
        has != self.negated
    }

    /// Whether a letter is in it; None is a byte that is no letter.
    pub fn has(&self, letter: Option<char>) -> bool {
        match letter {
            None => self.negated || self.items.iter().any(|item| matches!(item, Item::Not(_))),
            Some(letter) => match self.ascii.get(letter as usize) {
                Some(&known) => known,
                None => self.look_up(letter),
            },
        }
    }
}
