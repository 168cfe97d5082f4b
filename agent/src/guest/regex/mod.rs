//! Regular expressions in time linear in the text, whatever the pattern: a
//! parser, a program of bounded size, and a machine that follows all readings
//! of the pattern at once (Pike's). Text is bytes that should be UTF-8; a byte
//! that is not is one letter of its own that only `.` and what is negated match.

pub mod class;
pub mod letters;
pub mod machine;
pub mod parse;
pub mod program;

pub use letters::letter_at;
pub use machine::{Machine, Slots, Text};
pub use program::Program;

/// Compiles a pattern. The message of an error says where it is wrong.
pub fn compile(pattern: &str, ignore_case: bool) -> Result<Program, String> {
    let node = parse::parse(pattern, ignore_case)?;
    Program::new(&node)
}
