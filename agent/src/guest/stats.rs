//! Stats: what the sandbox uses now.

use super::pack::Pack;
use super::server::Server;
use super::tree::{descendants, scan};
use crate::sys::dir::{c_path, disk_space};
use crate::sys::process;
use std::fs;

/// Kernel clock ticks per second as /proc shows them, on every architecture.
const TICKS: u64 = 100;
const PAGE: u64 = 4096;

impl Server {
    pub fn stats(&self) -> Vec<u8> {
        let own = process::pid();
        let table = scan();
        // Process 1 sees exactly its sandbox; elsewhere only what is below counts.
        let mut all = descendants(&table, &[own], &[]);
        if self.setup.init {
            all = table
                .iter()
                .filter(|process| process.alive() && process.pid != own)
                .copied()
                .collect();
        }
        let own_ticks = table
            .iter()
            .find(|process| process.pid == own)
            .map_or(0, |process| process.ticks);
        let ticks = all
            .iter()
            .fold(own_ticks, |sum, process| sum.saturating_add(process.ticks));
        let pids = all.iter().map(|process| process.pid).chain([own]);
        let memory = pids.fold(0u64, |sum, pid| sum.saturating_add(private_bytes(pid)));
        let processes = all
            .iter()
            .filter(|process| !self.keepers.contains_key(&process.pid))
            .count();
        let sessions = self
            .sessions
            .values()
            .filter(|session| session.running())
            .count();
        let (total, free) = c_path(b"/")
            .and_then(|root| disk_space(&root))
            .unwrap_or((0, 0));
        Pack::map(7)
            .uint("uptime_ms", self.started.elapsed().as_millis() as u64)
            .uint("processes", processes as u64)
            .uint("sessions", sessions as u64)
            .uint("memory_bytes", memory)
            .uint("cpu_ms", ticks.saturating_mul(1000 / TICKS))
            .uint("disk_total", total)
            .uint("disk_free", free)
            .done()
    }
}

/// Resident memory of a process that is not backed by shared files.
fn private_bytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/statm", pid)).unwrap_or_default();
    let mut fields = text
        .split_ascii_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0));
    let resident: u64 = fields.next().unwrap_or(0);
    let shared: u64 = fields.next().unwrap_or(0);
    resident.saturating_sub(shared).saturating_mul(PAGE)
}
