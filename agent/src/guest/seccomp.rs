//! The system-call filter: a classic BPF program the agent puts on itself
//! before it serves, inherited by every process of the sandbox. It takes away
//! what reaches into the kernel or the host and what no program in a sandbox
//! needs; each entry says why. Everything denied fails with an errno, nothing
//! is killed, so that programs that probe go on.

use super::seccomp_table::{ARCH, DENIED, HIGHEST};
use crate::sys::abi;
use std::io;
use std::os::raw::c_int;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const FAIL: u32 = 0x0005_0000;
const SECCOMP_SET_MODE_FILTER: i64 = 1;

/// Namespace flags of clone and unshare. CLONE_NEWTIME (0x80) exists for
/// unshare only: in clone these bits are the exit signal.
const NAMESPACES: u32 = 0x7e02_0000;
const NEW_TIME: u32 = 0x80;

/// When a system call is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    /// The argument has any of these bits.
    Bits(u32, u32),
    /// The argument is one of these values.
    Values(u32, &'static [u32]),
    /// The argument is none of these values.
    NotValues(u32, &'static [u32]),
}

/// One row of the table.
pub struct Rule {
    /// For readers of the table and for tests.
    #[allow(dead_code)]
    pub name: &'static str,
    pub number: u32,
    pub when: When,
    pub errno: i32,
    /// Why; for readers of the table.
    #[allow(dead_code)]
    pub reason: &'static str,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

fn instruction(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code,
        if_true,
        if_false,
        value,
    }
}

fn fail(errno: i32) -> Instruction {
    instruction(RETURN, FAIL | errno as u32, 0, 0)
}

/// The conditions of one rule: falls through to the next instruction to deny,
/// jumps over it to allow.
fn condition(when: When) -> Vec<Instruction> {
    let argument = |index: u32| instruction(LOAD, ARGUMENT + index * 8, 0, 0);
    match when {
        When::Always => Vec::new(),
        When::Bits(index, bits) => vec![argument(index), instruction(SET, bits, 0, 1)],
        When::Values(index, values) => {
            let mut list = vec![argument(index)];
            for (at, &value) in values.iter().enumerate() {
                let rest = (values.len() - at - 1) as u8;
                // A hit goes to the denial behind the list; the last miss over it.
                list.push(instruction(EQUAL, value, rest, u8::from(rest == 0)));
            }
            list
        }
        When::NotValues(index, values) => {
            let mut list = vec![argument(index)];
            for (at, &value) in values.iter().enumerate() {
                let rest = (values.len() - at - 1) as u8;
                list.push(instruction(EQUAL, value, rest + 1, 0));
            }
            list
        }
    }
}

/// The whole filter.
pub fn program() -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD, ARCHITECTURE, 0, 0),
        // Calls of another architecture (i386 on x86-64) would carry other numbers.
        instruction(EQUAL, ARCH, 1, 0),
        fail(abi::ENOSYS),
        instruction(LOAD, NUMBER, 0, 0),
        // What this table does not know, x32 calls among it, does not exist.
        instruction(GREATER, HIGHEST, 0, 1),
        fail(abi::ENOSYS),
    ];
    for rule in DENIED {
        let condition = condition(rule.when);
        // Behind a condition the accumulator holds an argument: allow ends there.
        let reload = !condition.is_empty();
        let skip = condition.len() + 1 + usize::from(reload);
        program.push(instruction(EQUAL, rule.number, 0, skip as u8));
        program.extend(condition);
        program.push(fail(rule.errno));
        if reload {
            program.push(instruction(RETURN, ALLOW, 0, 0));
        }
    }
    program.push(instruction(RETURN, ALLOW, 0, 0));
    program
}

/// Puts the filter on this process and everything it will start.
pub fn install() -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const Instruction,
    }
    crate::sys::process::control(abi::PR_SET_NO_NEW_PRIVS, 1)?;
    let program = program();
    let described = Program {
        length: program.len() as u16,
        filter: program.as_ptr(),
    };
    // SAFETY: the program lives during the call; the kernel checks and copies it.
    let done = unsafe {
        abi::syscall(
            abi::SYS_SECCOMP,
            SECCOMP_SET_MODE_FILTER,
            0u64,
            &described as *const Program,
        )
    };
    crate::sys::fd::check(done as c_int).map(|_| ())
}

pub const CLONE_DENIED: When = When::Bits(0, NAMESPACES);
pub const UNSHARE_DENIED: When = When::Bits(0, NAMESPACES | NEW_TIME);

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would.
    fn run(arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let program = program();
        let (mut at, mut accumulator) = (0usize, 0u32);
        loop {
            let one = program[at];
            at += 1;
            let jump = |hit: bool| usize::from(if hit { one.if_true } else { one.if_false });
            match one.code {
                LOAD => {
                    accumulator = match one.value {
                        NUMBER => number,
                        ARCHITECTURE => arch,
                        offset => arguments[(offset - ARGUMENT) as usize / 8] as u32,
                    }
                }
                EQUAL => at += jump(accumulator == one.value),
                GREATER => at += jump(accumulator > one.value),
                SET => at += jump(accumulator & one.value != 0),
                RETURN => return one.value,
                code => panic!("code {}", code),
            }
        }
    }

    fn rule(name: &str) -> &'static Rule {
        DENIED
            .iter()
            .find(|rule| rule.name == name)
            .expect("in the table")
    }

    #[test]
    fn every_rule_denies_what_it_says_and_no_more() {
        for rule in DENIED {
            let denied = FAIL | rule.errno as u32;
            let with = |index: u32, value: u32| {
                let mut arguments = [0u64; 6];
                arguments[index as usize] = 0xdead_beef_0000_0000 | u64::from(value);
                run(ARCH, rule.number, arguments)
            };
            match rule.when {
                When::Always => assert_eq!(with(0, 0), denied, "{}", rule.name),
                When::Bits(index, bits) => {
                    for bit in (0..32).map(|bit| 1u32 << bit) {
                        let expected = if bits & bit != 0 { denied } else { ALLOW };
                        assert_eq!(with(index, bit), expected, "{} {:x}", rule.name, bit);
                    }
                }
                When::Values(index, values) => {
                    for &value in values {
                        assert_eq!(with(index, value), denied, "{} {:x}", rule.name, value);
                        if !values.contains(&(value + 1)) {
                            assert_eq!(with(index, value + 1), ALLOW, "{}", rule.name);
                        }
                    }
                    assert_eq!(with(index, 0), ALLOW, "{}", rule.name);
                }
                When::NotValues(index, values) => {
                    for &value in values {
                        assert_eq!(with(index, value), ALLOW, "{} {:x}", rule.name, value);
                    }
                    assert_eq!(with(index, 0x0012_3456), denied, "{}", rule.name);
                }
            }
        }
    }

    #[test]
    fn other_architectures_and_unknown_numbers_do_not_exist() {
        let missing = FAIL | abi::ENOSYS as u32;
        assert_eq!(run(0x4000_0003, 20, [0; 6]), missing);
        assert_eq!(run(ARCH, HIGHEST + 1, [0; 6]), missing);
        assert_eq!(run(ARCH, 0x4000_0001, [0; 6]), missing);
        assert_eq!(run(ARCH, u32::MAX, [0; 6]), missing);
        assert_eq!(run(ARCH, rule("clone3").number, [0; 6]), missing);
    }

    #[test]
    fn threads_and_plain_forks_stay_allowed() {
        let clone = rule("clone").number;
        for flags in [0x11u64, 0x003d_0f00, 0x4111, 0x0120_0011] {
            assert_eq!(run(ARCH, clone, [flags, 0, 0, 0, 0, 0]), ALLOW);
        }
        assert_eq!(
            run(ARCH, rule("unshare").number, [0x600, 0, 0, 0, 0, 0]),
            ALLOW
        );
        assert_eq!(
            program()
                .iter()
                .map(|one| one.if_false)
                .max()
                .map(|jump| jump < 32),
            Some(true)
        );
    }
}
