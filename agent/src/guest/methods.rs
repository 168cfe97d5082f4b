//! The methods of the guest protocol: parameters checked, work begun.

use super::channel::Call;
use super::dial;
use super::fault::Fault;
use super::files::calls;
use super::files::change::{Change, ChangeJob, MakeDirJob, MoveJob};
use super::files::digest::DigestJob;
use super::files::entry::StatJob;
use super::files::find::GlobJob;
use super::files::list::ListJob;
use super::files::read::ReadJob;
use super::files::remove::RemoveJob;
use super::files::walk::MAX_DEPTH;
use super::files::write::WriteJob;
use super::frame::MAX_CONTROL;
use super::identity::Identity;
use super::killer::{no_such, Scope};
use super::msgpack::Value;
use super::pack::Pack;
use super::params::{as_uint, clip, Params};
use super::pool::Job;
use super::process_spec::{OnFull, ProcessSpec};
use super::server::Server;
use super::session::{InputItem, Source};
use super::signals;
use super::user::UserDatabase;
use crate::sys::pty;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_GLOB_LIMIT: u64 = 10_000;
const MAX_GLOB_LIMIT: u64 = 10_000_000;
const DEFAULT_GRACE_MS: u64 = 2000;
const MAX_GRACE_MS: u64 = 600_000;

impl Server {
    /// Begins a call. An error is its answer; everything else answers later or at once.
    pub fn call(&mut self, source: Source, method: &str, params: Params) -> Result<(), Fault> {
        match method {
            "SpawnSession" => self.spawn_session(source, params),
            "ExecCommand" => self.exec_command(source, params),
            "StreamOutput" => self.stream_output(source, params),
            "KillSession" => self.kill_session(source, params),
            "WriteInput" => self.write_input_call(source, params),
            "CloseInput" => self.close_input_call(source, params),
            "ResizeTerminal" => self.resize_terminal(source, params),
            "WaitSession" => self.wait_session(source, params),
            "ListSessions" => self.list_sessions(source, params),
            "Dial" => self.dial(source, params),
            "OpenWatch" | "ReadWatch" | "CloseWatch" => self.watch_call(source, method, params),
            "Search" | "Replace" => self.search_call(source, method, params),
            "ListPorts" => self.list_ports(source, params),
            "Stats" => {
                params.finish()?;
                let stats = self.stats();
                self.reply(source, stats, true);
                Ok(())
            }
            "Shutdown" => self.shutdown_call(source, params),
            "WriteTree" => self.write_tree(source, params),
            "OpenUpload" | "WriteUpload" | "GetUpload" | "CommitUpload" | "CancelUpload" => {
                self.upload_call(source, method, params)
            }
            _ => self.file_call(source, method, params),
        }
    }

    fn spawn_session(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let spec = ProcessSpec::parse(&mut params, OnFull::Drop)?;
        params.finish()?;
        self.start_process(source, spec, false, false)
    }

    fn exec_command(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let spec = ProcessSpec::parse(&mut params, OnFull::Block)?;
        let kill = params.flag("kill_on_disconnect", false)?;
        params.finish()?;
        self.start_process(source, spec, true, kill)
    }

    fn stream_output(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let id = session_id(&mut params)?;
        let at = [
            params.uint("stdout_offset")?.unwrap_or(0),
            params.uint("stderr_offset")?.unwrap_or(0),
        ];
        let follow = params.flag("follow", true)?;
        params.finish()?;
        let session = self.sessions.get(&id).ok_or_else(|| no_such(id))?;
        let ends = [session.streams[0].log.end(), session.streams[1].log.end()];
        if at[0] > ends[0] || at[1] > ends[1] {
            return Err(Fault::invalid(
                "an offset lies beyond the output written so far",
            ));
        }
        let reply = session.reply(true);
        self.reply(source, reply, false);
        self.attach(source, id, at, (!follow).then_some(ends), false);
        Ok(())
    }

    fn kill_session(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let id = session_id(&mut params)?;
        let signal = match params.take("signal") {
            None => Some(15),
            Some(Value::Str(text)) => signals::number(&text),
            Some(value) => as_uint(&value)
                .and_then(|number| i32::try_from(number).ok())
                .filter(|number| (1..=64).contains(number)),
        };
        let signal = signal.ok_or_else(|| Fault::invalid("signal: not a signal"))?;
        let scope = match params.text("scope")?.as_deref() {
            None | Some("tree") => Scope::Tree,
            Some("group") => Scope::Group,
            Some("leader") => Scope::Leader,
            Some(_) => return Err(Fault::invalid("scope: expected leader, group or tree")),
        };
        params.finish()?;
        self.signal_session(source, id, signal, scope)
    }

    fn write_input_call(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let id = session_id(&mut params)?;
        params.finish()?;
        let session = self.sessions.get(&id).ok_or_else(|| no_such(id))?;
        if session.input.fd.is_none() {
            return Err(Fault::new("conflict", "the process takes no input"));
        }
        if let Some(channel) = self.channel(source) {
            channel.call = Call::Input {
                session: id,
                written: 0,
            };
        }
        Ok(())
    }

    fn close_input_call(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let id = session_id(&mut params)?;
        params.finish()?;
        if !self.sessions.contains_key(&id) {
            return Err(no_such(id));
        }
        self.queue_input(id, InputItem::Close);
        self.reply(source, Pack::map(0).done(), true);
        Ok(())
    }

    fn resize_terminal(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let id = session_id(&mut params)?;
        let cols = Params::required("cols", params.uint_in("cols", 1, 0xffff)?)?;
        let rows = Params::required("rows", params.uint_in("rows", 1, 0xffff)?)?;
        params.finish()?;
        let session = self.sessions.get(&id).ok_or_else(|| no_such(id))?;
        if session.spec.terminal.is_none() {
            return Err(Fault::invalid("the session has no terminal"));
        }
        if let Some(master) = &session.streams[0].fd {
            pty::resize(master, cols as u16, rows as u16)
                .map_err(|error| Fault::from_io(&error, "terminal"))?;
        }
        self.reply(source, Pack::map(0).done(), true);
        Ok(())
    }

    fn list_sessions(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let only = params.uint("id")?;
        params.finish()?;
        if let Some(id) = only {
            if !self.sessions.contains_key(&id) {
                return Err(no_such(id));
            }
        }
        let wanted = |id: u64| only.map_or(true, |only| only == id);
        // Long command lines are cut further until the answer fits a frame.
        let mut reply = Vec::new();
        for text in [16_384, 2048, 256, 32] {
            let shown = self.sessions.values().filter(|session| wanted(session.id));
            let packed: Vec<Vec<u8>> = shown.map(|session| session.describe(text)).collect();
            let mut pack = Pack::map(1).key("sessions").array(packed.len());
            for session in &packed {
                pack = pack.raw(session);
            }
            reply = pack.done();
            if reply.len() <= MAX_CONTROL {
                self.reply(source, reply, true);
                return Ok(());
            }
        }
        let message = format!(
            "the list of sessions takes {} bytes; ask by id",
            reply.len()
        );
        Err(Fault::new("resource_exhausted", message))
    }

    fn dial(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let network = Params::required("network", params.text("network")?)?;
        let identity = self.identity(&mut params)?;
        match network.as_str() {
            "tcp" => {
                let host = params.text("host")?.unwrap_or_else(|| "127.0.0.1".into());
                let port = Params::required("port", params.uint_in("port", 1, 0xffff)?)?;
                params.finish()?;
                let targets = dial::addresses(&host, port as u16)?;
                self.dial_tcp(source, targets);
            }
            "unix" => {
                let path = params.required_path("path")?;
                params.finish()?;
                self.dial_unix(source, identity, PathBuf::from(path));
            }
            _ => return Err(Fault::invalid("network: expected tcp or unix")),
        }
        Ok(())
    }

    fn shutdown_call(&mut self, source: Source, mut params: Params) -> Result<(), Fault> {
        let grace = params
            .uint_in("grace_ms", 0, MAX_GRACE_MS)?
            .unwrap_or(DEFAULT_GRACE_MS);
        params.finish()?;
        self.reply(source, Pack::map(0).done(), true);
        self.begin_shutdown(Duration::from_millis(grace));
        Ok(())
    }

    /// Whose rights a file method has.
    pub fn identity(&self, params: &mut Params) -> Result<Identity, Fault> {
        let asked = params.text("user")?;
        let user = self.setup.user(&UserDatabase::load(), asked.as_deref())?;
        let switch = self.setup.must_switch(&user)?;
        let groups = self.setup.groups_for(&user);
        Ok(Identity::of_user(
            &user,
            switch,
            groups,
            self.setup.agent_ids(),
        ))
    }

    fn file_call(&mut self, source: Source, method: &str, params: Params) -> Result<(), Fault> {
        let mut params = params;
        let p = &mut params;
        let chown = method == "Chown";
        let job: Box<dyn Job> = match method {
            "ReadFile" => {
                let path = p.required_path("path")?;
                let offset = p.uint_in("offset", 0, i64::MAX as u64)?.unwrap_or(0);
                Box::new(ReadJob::new(path, offset, p.uint("length")?))
            }
            "WriteFile" => Box::new(write_job(p)?),
            "Stat" => Box::new(StatJob {
                path: p.required_path("path")?,
                follow: p.flag("follow", false)?,
            }),
            "ListDir" => {
                let path = p.required_path("path")?;
                let depth = p.uint_in("depth", 1, MAX_DEPTH as u64)?.unwrap_or(1);
                Box::new(ListJob::new(path, depth as usize))
            }
            "Glob" => {
                let pattern = Params::required("pattern", p.text("pattern")?)?;
                let cwd = p.path("cwd")?.unwrap_or_else(|| "/".into());
                let limit = p
                    .uint_in("limit", 1, MAX_GLOB_LIMIT)?
                    .unwrap_or(DEFAULT_GLOB_LIMIT);
                Box::new(GlobJob::new(&pattern, &cwd, limit)?)
            }
            "MakeDir" => Box::new(MakeDirJob {
                path: p.required_path("path")?,
                mode: p.mode("mode")?,
                parents: p.flag("parents", true)?,
            }),
            "Move" => Box::new(MoveJob {
                from: p.required_path("from")?,
                to: p.required_path("to")?,
                overwrite: p.flag("overwrite", true)?,
            }),
            "Remove" => Box::new(RemoveJob::new(
                p.required_path("path")?,
                p.flag("recursive", false)?,
            )),
            "Chmod" => {
                let path = p.required_path("path")?;
                let mode = Params::required("mode", p.mode("mode")?)?;
                Box::new(ChangeJob::new(
                    path,
                    Change::Mode(mode),
                    p.flag("recursive", false)?,
                ))
            }
            "Chown" => {
                let path = p.required_path("path")?;
                let owner = Params::required("owner", p.text("owner")?)?;
                let change = owner_change(&owner)?;
                Box::new(ChangeJob::new(path, change, p.flag("recursive", false)?))
            }
            "GetXattrs" | "SetXattr" | "RemoveXattr" => Box::new(calls::xattr_job(method, p)?),
            "ReadTree" => Box::new(calls::read_tree_job(p)?),
            "Digest" => Box::new(DigestJob::new(p.required_path("path")?)),
            _ => {
                let message = format!("no such method: {}", clip(method));
                return Err(Fault::new("unsupported", message));
            }
        };
        let identity = match chown {
            // Giving files away takes the agent's own rights.
            true => Identity::of_agent(self.setup.agent_ids()),
            false => self.identity(&mut params)?,
        };
        params.finish()?;
        self.start_job(source, identity, job);
        Ok(())
    }
}

fn session_id(params: &mut Params) -> Result<u64, Fault> {
    Params::required("id", params.uint("id")?)
}

fn write_job(p: &mut Params) -> Result<WriteJob, Fault> {
    let mut job = WriteJob::new(p.required_path("path")?);
    job.mode = p.mode("mode")?;
    job.offset = p.uint_in("offset", 0, i64::MAX as u64)?;
    job.append = p.flag("append", false)?;
    job.create_parents = p.flag("create_parents", true)?;
    let in_place = job.append || job.offset.is_some();
    job.atomic = p.flag("atomic", !in_place)?;
    if job.append && job.offset.is_some() {
        return Err(Fault::invalid("offset and append exclude each other"));
    }
    if job.atomic && in_place {
        return Err(Fault::invalid("atomic excludes offset and append"));
    }
    Ok(job)
}

/// `user`, `uid`, or either with `:group`. A user alone changes the user only.
fn owner_change(owner: &str) -> Result<Change, Fault> {
    const KEEP: u32 = u32::MAX;
    let users = UserDatabase::load();
    let (name, group) = match owner.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (owner, None),
    };
    let uid = users.resolve(name)?.uid;
    let gid = match group {
        None => KEEP,
        Some(group) => users
            .group_id(group)
            .ok_or_else(|| Fault::new("no_such_user", format!("no such group: {}", clip(group))))?,
    };
    Ok(Change::Owner(uid, gid))
}
