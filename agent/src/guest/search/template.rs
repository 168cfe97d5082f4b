//! What matches are replaced by: text, and groups by `$0` to `$9`.

use super::super::regex::Slots;

enum Part {
    Text(Vec<u8>),
    Group(usize),
}

pub struct Template(Vec<Part>);

impl Template {
    /// `$$` is a dollar, and so is one before anything else. A plain template
    /// has no groups: a dollar is a dollar.
    pub fn new(text: &str, plain: bool) -> Template {
        let mut parts = Vec::new();
        let mut rest = text.as_bytes();
        let mut literal = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, after.first()) {
                (b'$', Some(b'$')) if !plain => {
                    literal.push(b'$');
                    rest = &after[1..];
                }
                (b'$', Some(digit @ b'0'..=b'9')) if !plain => {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                    parts.push(Part::Group(usize::from(digit - b'0')));
                    rest = &after[1..];
                }
                _ => literal.push(byte),
            }
        }
        parts.push(Part::Text(literal));
        Template(parts)
    }

    /// Writes the replacement of one match.
    pub fn expand(&self, line: &[u8], slots: &Slots, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Group(group) => {
                    // A group that took no part is empty.
                    let (from, to) = (slots[group * 2], slots[group * 2 + 1]);
                    out.extend_from_slice(line.get(from..to).unwrap_or(&[]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::regex::machine::NONE;
    use super::*;

    #[test]
    fn dollars_are_groups_or_dollars() {
        let mut slots: Slots = [NONE; 20];
        slots[..4].copy_from_slice(&[1, 4, 2, 3]);
        for (text, plain, expected) in [
            ("<$0|$1|$2>", false, "<bcd|c|>"),
            ("$$1 $ $x $", false, "$1 $ $x $"),
            ("$10", false, "c0"),
            ("$0$$", true, "$0$$"),
            ("", false, ""),
        ] {
            let mut out = Vec::new();
            Template::new(text, plain).expand(b"abcde", &slots, &mut out);
            assert_eq!(out, expected.as_bytes(), "{}", text);
        }
    }
}
