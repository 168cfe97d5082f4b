//! The `process` parameters of SpawnSession and ExecCommand, and their
//! resolution into a launch: user, environment, PATH search, directories.

use super::fault::Fault;
use super::keeper::Launch;
use super::msgpack::Value;
use super::params::Params;
use super::process_limits::ProcessLimits;
use super::startup::Setup;
use super::user::{User, UserDatabase};
use std::ffi::CString;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes kept per stream when the request names no limit.
const DEFAULT_OUTPUT_LIMIT: u64 = 67_108_864;
const MAX_OUTPUT_LIMIT: u64 = 1 << 40;
/// Longest timeout accepted: a year, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 366 * 86_400_000;

/// What happens when a log is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    Block,
    Drop,
}

pub struct ProcessSpec {
    pub argv: Vec<String>,
    pub command: Option<String>,
    pub env: Vec<(String, String)>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    pub terminal: Option<(u16, u16)>,
    pub stdin: bool,
    pub timeout_ms: Option<u64>,
    pub output_limit: u64,
    pub on_full: OnFull,
    pub tag: Option<String>,
    pub limits: ProcessLimits,
}

impl ProcessSpec {
    pub fn parse(params: &mut Params, default_on_full: OnFull) -> Result<ProcessSpec, Fault> {
        let argv = params.texts("argv")?;
        let command = params.text("command")?;
        let argv = match (argv, &command) {
            (Some(argv), None) if argv.first().map_or(true, |name| name.is_empty()) => {
                return Err(Fault::invalid("argv: the first item must name a program"));
            }
            (Some(argv), None) => argv,
            (None, Some(command)) => vec!["/bin/sh".into(), "-c".into(), command.clone()],
            _ => {
                return Err(Fault::invalid(
                    "exactly one of argv and command is required",
                ))
            }
        };
        let mut env = Vec::new();
        for (key, value) in params.map("env")?.unwrap_or_default() {
            env.push(env_entry(key, value)?);
        }
        let terminal = match params.take("pty") {
            None => None,
            Some(value) => {
                let mut size = Params::new(value)?;
                let cols = Params::required("pty.cols", size.uint_in("cols", 1, 0xffff)?)?;
                let rows = Params::required("pty.rows", size.uint_in("rows", 1, 0xffff)?)?;
                size.finish()?;
                Some((cols as u16, rows as u16))
            }
        };
        let on_full = match params.text("on_full")?.as_deref() {
            None => default_on_full,
            Some("block") => OnFull::Block,
            Some("drop") => OnFull::Drop,
            Some(_) => return Err(Fault::invalid("on_full: expected block or drop")),
        };
        let limit = params.uint_in("output_limit", 1, MAX_OUTPUT_LIMIT)?;
        Ok(ProcessSpec {
            argv,
            command,
            env,
            cwd: params.path("cwd")?,
            user: params.text("user")?,
            terminal,
            stdin: params.flag("stdin", false)?,
            timeout_ms: params.uint_in("timeout_ms", 1, MAX_TIMEOUT_MS)?,
            output_limit: limit.unwrap_or(DEFAULT_OUTPUT_LIMIT),
            on_full,
            tag: params.text("tag")?,
            limits: ProcessLimits::parse(params)?,
        })
    }

    /// Resolves everything that needs the sandbox's files.
    pub fn launch(&self, setup: &Setup) -> Result<(Launch, User), Fault> {
        let users = UserDatabase::load();
        let user = setup.user(&users, self.user.as_deref())?;
        let env = self.environment(setup, &user);
        let path = env
            .iter()
            .rev()
            .find(|(key, _)| key == "PATH")
            .map_or(DEFAULT_PATH, |(_, value)| value.as_str());
        let name = self.argv.first().map_or("", String::as_str);
        let files = if name.contains('/') {
            vec![name.to_owned()]
        } else {
            let place = |dir: &str| match dir {
                "" => name.to_owned(),
                dir => format!("{}/{}", dir, name),
            };
            path.split(':').take(64).map(place).collect()
        };
        let cwds = match &self.cwd {
            Some(cwd) => vec![cwd.clone()],
            None => {
                let image = setup.cwd.clone().into_iter();
                image.chain([user.home.clone(), "/".to_owned()]).collect()
            }
        };
        let entries = env
            .iter()
            .map(|(key, value)| format!("{}={}", key, value))
            .collect();
        let switch_user = setup.must_switch(&user)?;
        let launch = Launch {
            argv: strings(self.argv.clone())?,
            env: strings(entries)?,
            files: strings(files)?,
            cwds: strings(cwds)?,
            uid: user.uid,
            gid: user.gid,
            groups: setup.groups_for(&user),
            switch_user,
            terminal: self.terminal.is_some(),
            descriptors: setup.descriptors,
            limits: self.limits.resolve(setup.descriptors)?,
            reset_oom: setup.reset_oom,
        };
        Ok((launch, user))
    }

    /// Later entries win: the user's, the agent's `--env`, the request's.
    fn environment(&self, setup: &Setup, user: &User) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = Vec::new();
        let mut set = |key: &str, value: &str| match env.iter_mut().find(|(name, _)| name == key) {
            Some(entry) => entry.1 = value.to_owned(),
            None => env.push((key.to_owned(), value.to_owned())),
        };
        set("PATH", DEFAULT_PATH);
        set("HOME", &user.home);
        set("USER", &user.name);
        set("LOGNAME", &user.name);
        set("SHELL", &user.shell);
        set("LANG", "C.UTF-8");
        if self.terminal.is_some() {
            set("TERM", "xterm-256color");
        }
        for (key, value) in setup.env.iter().chain(&self.env) {
            set(key, value);
        }
        env
    }
}

fn env_entry(key: String, value: Value) -> Result<(String, String), Fault> {
    match value {
        Value::Str(value)
            if !key.is_empty() && !key.contains(&['=', '\0'][..]) && !value.contains('\0') =>
        {
            Ok((key, value))
        }
        _ => Err(Fault::invalid(
            "env: expected names without '=' and string values, no NUL",
        )),
    }
}

fn strings(texts: Vec<String>) -> Result<Vec<CString>, Fault> {
    let nul = |_| Fault::invalid("a string of the process contains a NUL");
    texts
        .into_iter()
        .map(|text| CString::new(text).map_err(nul))
        .collect()
}
