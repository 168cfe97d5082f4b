//! The `limits` of a process: what it and its children may use of the kernel.

use super::fault::Fault;
use super::params::Params;
use crate::sys::abi::{self, RLimit};
use crate::sys::process::hard_limit;

/// Less address space than this cannot hold a program.
const LEAST_MEMORY: u64 = 1 << 20;

/// A limit by its field, its resource and the least that makes sense.
const FIELDS: [(&str, i32, u64); 4] = [
    ("cpu_seconds", abi::RLIMIT_CPU, 1),
    ("memory_bytes", abi::RLIMIT_AS, LEAST_MEMORY),
    ("open_files", abi::RLIMIT_NOFILE, 4),
    ("file_bytes", abi::RLIMIT_FSIZE, 0),
];

/// What was asked for, in the order of `FIELDS`. Empty: the sandbox's own limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessLimits([Option<u64>; FIELDS.len()]);

impl ProcessLimits {
    /// Takes `limits` out of the parameters of a process.
    pub fn parse(params: &mut Params) -> Result<ProcessLimits, Fault> {
        let mut limits = ProcessLimits::default();
        let mut fields = match params.take("limits") {
            None => return Ok(limits),
            Some(value) => Params::new(value)?,
        };
        for ((name, _, least), limit) in FIELDS.iter().zip(&mut limits.0) {
            *limit = fields
                .uint_in(name, *least, i64::MAX as u64)
                .map_err(|fault| Fault::invalid(format!("limits.{}", fault.message)))?;
        }
        fields.finish()?;
        Ok(limits)
    }

    /// The kernel's form. Limits are only lowered: `descriptors` and the agent's
    /// own limits are the most there is.
    pub fn resolve(&self, descriptors: (u64, u64)) -> Result<Vec<(i32, RLimit)>, Fault> {
        let mut resolved = Vec::new();
        for ((name, resource, _), limit) in FIELDS.iter().zip(self.0) {
            let limit = match limit {
                None => continue,
                Some(limit) => limit,
            };
            let most = match *resource {
                // The agent has raised its own.
                abi::RLIMIT_NOFILE if descriptors.1 > 0 => descriptors.1,
                resource => hard_limit(resource),
            };
            if limit > most {
                let message = format!("limits.{}: the sandbox has at most {}", name, most);
                return Err(Fault::invalid(message));
            }
            // A process that ignores XCPU is killed a second later.
            let maximum = match *resource {
                abi::RLIMIT_CPU => most.min(limit.saturating_add(1)),
                _ => limit,
            };
            let current = limit;
            resolved.push((*resource, RLimit { current, maximum }));
        }
        Ok(resolved)
    }
}
