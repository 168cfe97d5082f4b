//! The process table of the sandbox, and who descends from whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    pub state: u8,
    /// CPU time used by it and by the children it waited for, in clock ticks.
    pub ticks: u64,
}

impl Process {
    pub fn alive(&self) -> bool {
        self.state != b'Z' && self.state != b'X'
    }
}

/// Every process that /proc shows. Empty without /proc.
pub fn scan() -> Vec<Process> {
    let mut found = Vec::new();
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(_) => return found,
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid: Option<i32> = name.to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid {
            let stat = fs::read(format!("/proc/{}/stat", pid)).unwrap_or_default();
            found.extend(parse(pid, &stat));
        }
    }
    found
}

/// One line of /proc/PID/stat. The name in parentheses may contain anything.
fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(16).collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let signed = |at: usize| fields.get(at).and_then(|field| field.parse::<i32>().ok());
    let ticks = (11..15).filter_map(number).fold(0u64, u64::saturating_add);
    let state = *fields.first()?.as_bytes().first()?;
    Some(Process {
        pid,
        parent: signed(1)?,
        group: signed(2)?,
        state,
        ticks,
    })
}

/// What lives below `roots`; the roots themselves only when `include` says so.
pub fn descendants(table: &[Process], roots: &[i32], include: &[i32]) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in table {
        children.entry(process.parent).or_default().push(process);
    }
    let mut seen: BTreeSet<i32> = roots.iter().copied().collect();
    let mut found: Vec<Process> = table
        .iter()
        .filter(|process| include.contains(&process.pid))
        .copied()
        .collect();
    let mut queue: Vec<i32> = roots.to_vec();
    while let Some(parent) = queue.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(**child);
                queue.push(child.pid);
            }
        }
    }
    found.retain(Process::alive);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_do_not_confuse_the_parser() {
        let line = b"42 (a) R 1 (b) c) S 7 40 40 0 -1 4194560 1 2 0 0 5 6 7 8 20 0 1 0";
        let parsed = parse(42, line).expect("parsed");
        assert_eq!((parsed.parent, parsed.group, parsed.state), (7, 40, b'S'));
        assert_eq!(parsed.ticks, 26);
        for cut in 0..line.len() {
            parse(42, &line[..cut]);
        }
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let process = |pid, parent, state| Process {
            pid,
            parent,
            group: pid,
            state,
            ticks: 0,
        };
        let table = [
            process(2, 1, b'S'),
            process(3, 2, b'S'),
            process(4, 3, b'Z'),
            process(5, 4, b'R'),
            process(6, 1, b'S'),
        ];
        let pids = |list: Vec<Process>| list.iter().map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!(pids(descendants(&table, &[2], &[])), vec![3, 5]);
        assert_eq!(pids(descendants(&table, &[2], &[2])), vec![2, 3, 5]);
    }
}
