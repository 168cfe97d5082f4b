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
        let network = network();
        Pack::map(12)
            .uint("uptime_ms", self.started.elapsed().as_millis() as u64)
            .uint("processes", processes as u64)
            .uint("sessions", sessions as u64)
            .uint("memory_bytes", memory)
            .uint("cpu_ms", ticks.saturating_mul(1000 / TICKS))
            .uint("disk_total", total)
            .uint("disk_free", free)
            .uint(
                "cpus",
                std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            )
            .uint("rx_bytes", network[0])
            .uint("rx_packets", network[1])
            .uint("tx_bytes", network[2])
            .uint("tx_packets", network[3])
            .done()
    }
}

/// Bytes and packets received, bytes and packets sent, over all interfaces but loopback.
fn network() -> [u64; 4] {
    let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let mut sums = [0u64; 4];
    for line in text.lines() {
        let figures = match line.split_once(':') {
            Some((name, figures)) if name.trim() != "lo" => figures,
            _ => continue, // a heading, or loopback
        };
        // The columns of the kernel: 8 for what was received, then 8 for what was sent.
        let columns: Vec<u64> = figures
            .split_ascii_whitespace()
            .map(|figure| figure.parse().unwrap_or(0))
            .collect();
        for (sum, column) in sums.iter_mut().zip([0, 1, 8, 9]) {
            *sum = sum.saturating_add(columns.get(column).copied().unwrap_or(0));
        }
    }
    sums
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
