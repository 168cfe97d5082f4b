//! Search and Replace: what to look for and where, as the caller put it.

mod find;
mod lines;
mod replace;
mod select;
mod template;

use super::fault::Fault;
use super::files::walk::MAX_DEPTH;
use super::glob::Glob;
use super::params::Params;
use super::pool::Job;
use super::regex::{compile, Machine, Program};
use super::server::Server;
use super::session::Source;
use find::SearchJob;
use replace::ReplaceJob;
use template::Template;

const DEFAULT_LIMIT: u64 = 10_000;
const MAX_LIMIT: u64 = 10_000_000;
const DEFAULT_FILE_BYTES: u64 = 67_108_864;
const MAX_FILE_BYTES: u64 = 1 << 40;
/// Longest plain text looked for, in bytes.
const MAX_TEXT: usize = 65_536;
/// Most patterns in `include` and in `exclude`.
const MAX_PATTERNS: usize = 64;
/// Steps that matching one line may take; a file with a line beyond is skipped.
const FUEL: u64 = 50_000_000;
/// Bytes read in one step before others get the thread.
const TURN: usize = 4 << 20;

/// What matching has cost, in such bytes: lines can be slow to match.
fn cost(machine: &Machine) -> usize {
    ((FUEL - machine.fuel) / 4) as usize
}

/// What is looked for, and where.
pub struct Request {
    pub path: String,
    pub program: Program,
    pub include: Vec<Glob>,
    pub exclude: Vec<Glob>,
    pub max_file_bytes: u64,
    /// `fixed` was asked for.
    pub plain: bool,
}

impl Server {
    pub fn search_call(
        &mut self,
        source: Source,
        method: &str,
        mut params: Params,
    ) -> Result<(), Fault> {
        let request = request(&mut params)?;
        let job: Box<dyn Job> = match method {
            "Search" => {
                let limit = params.uint_in("limit", 1, MAX_LIMIT)?;
                Box::new(SearchJob::new(request, limit.unwrap_or(DEFAULT_LIMIT)))
            }
            _ => {
                let text = Params::required("replacement", params.text("replacement")?)?;
                let template = Template::new(&text, request.plain);
                let dry_run = params.flag("dry_run", false)?;
                Box::new(ReplaceJob::new(request, template, dry_run))
            }
        };
        let identity = self.identity(&mut params)?;
        params.finish()?;
        self.start_job(source, identity, job);
        Ok(())
    }
}

fn request(params: &mut Params) -> Result<Request, Fault> {
    let path = params.required_path("path")?;
    let pattern = Params::required("pattern", params.text("pattern")?)?;
    let plain = params.flag("fixed", false)?;
    let ignore_case = params.flag("ignore_case", false)?;
    Ok(Request {
        path,
        program: program(&pattern, plain, ignore_case).map_err(Fault::invalid)?,
        include: globs(params, "include")?,
        exclude: globs(params, "exclude")?,
        max_file_bytes: params
            .uint_in("max_file_bytes", 1, MAX_FILE_BYTES)?
            .unwrap_or(DEFAULT_FILE_BYTES),
        plain,
    })
}

fn program(pattern: &str, plain: bool, ignore_case: bool) -> Result<Program, String> {
    if !plain {
        return compile(pattern, ignore_case);
    }
    if pattern.is_empty() || pattern.len() > MAX_TEXT {
        return Err(format!("pattern: expected 1 to {} bytes", MAX_TEXT));
    }
    if pattern.contains('\n') {
        return Err("pattern: contains a line break, and lines are matched one by one".into());
    }
    Program::of_text(pattern, ignore_case)
}

fn globs(params: &mut Params, key: &str) -> Result<Vec<Glob>, Fault> {
    let patterns = params.texts(key)?.unwrap_or_default();
    if patterns.len() > MAX_PATTERNS {
        let message = format!("{}: more than {} patterns", key, MAX_PATTERNS);
        return Err(Fault::invalid(message));
    }
    patterns
        .iter()
        .map(|pattern| {
            Glob::parse(pattern).map_err(|error| Fault::invalid(format!("{}: {}", key, error)))
        })
        .collect()
}
