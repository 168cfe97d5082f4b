//! A small client of the guest protocol, and an agent of its own per test.
#![allow(dead_code)] // each test file uses its part

use caisson_agent::guest::frame::{decode_header, encode_header, Header, Kind, ERROR, FIN, HEADER};
use caisson_agent::guest::msgpack::{decode, Value};
use caisson_agent::guest::pack::Pack;
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::os::unix::io::{AsRawFd, IntoRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The agent under test; `CAISSON_AGENT` names another build of it.
pub fn binary() -> PathBuf {
    std::env::var_os("CAISSON_AGENT")
        .map_or_else(|| env!("CARGO_BIN_EXE_caisson-agent").into(), PathBuf::from)
}

pub struct Agent {
    pub child: Child,
    pub dir: PathBuf,
    socket: PathBuf,
}

impl Agent {
    pub fn start() -> Agent {
        Agent::with(&[])
    }

    /// An agent that inherits its listening socket as descriptor 5.
    pub fn with(options: &[&str]) -> Agent {
        Agent::run(Command::new(binary()), options)
    }

    /// An agent that is process 1 of a pid namespace. None, with the reason
    /// printed, where such a namespace cannot be made.
    pub fn as_init(options: &[&str]) -> Option<Agent> {
        let namespace = ["--pid", "--fork", "--mount-proc", "--kill-child"];
        let probe = Command::new("unshare").args(namespace).arg("true").output();
        match probe {
            Ok(output) if output.status.success() => {}
            other => {
                eprintln!("skipped, no pid namespace: {:?}", other);
                assert!(std::env::var_os("REQUIRE_NAMESPACES").is_none());
                return None;
            }
        }
        let mut command = Command::new("unshare");
        command.args(namespace).arg(binary());
        Some(Agent::run(command, options))
    }

    fn run(mut command: Command, options: &[&str]) -> Agent {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("caisson-agent-test-{}-{}", std::process::id(), number);
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("test dir");
        let socket = dir.join("agent.sock");
        let listener = UnixListener::bind(&socket).expect("bind").into_raw_fd();
        command
            .args(["guest", "--listen-fd", "5", "--user", "root"])
            .args(options);
        command.stdin(Stdio::null()).current_dir("/");
        // SAFETY: dup2 and close are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                if libc_dup2(listener, 5) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                if listener == 5 {
                    libc_fcntl(5, 2, 0);
                }
                Ok(())
            });
        }
        let child = command.spawn().expect("agent");
        // SAFETY: our copy of the listener; the agent has its own.
        unsafe { libc_close(listener) };
        Agent { child, dir, socket }
    }

    pub fn stream(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream
    }

    pub fn connect(&self) -> Client {
        let mut client = Client::new(self.stream());
        client.hello();
        client
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// A field of /proc/PID/smaps_rollup, in KiB.
    pub fn memory(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = std::fs::read_to_string(path).expect("smaps_rollup");
        let line = text
            .lines()
            .find(|line| line.starts_with(field))
            .expect("field");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("number")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.alive() {
            let mut client = self.connect();
            let _gone_is_fine =
                client.try_call("Shutdown", Pack::map(1).uint("grace_ms", 0).done());
            let since = Instant::now();
            while self.alive() && since.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(2));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

extern "C" {
    #[link_name = "dup2"]
    fn libc_dup2(from: i32, to: i32) -> i32;
    #[link_name = "close"]
    fn libc_close(fd: i32) -> i32;
    #[link_name = "fcntl"]
    fn libc_fcntl(fd: i32, command: i32, argument: i32) -> i32;
}

#[derive(Debug, Clone)]
pub struct Frame {
    pub header: Header,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn map(&self) -> Map {
        Map(decode(&self.payload).expect("a map"))
    }
}

#[derive(Debug, Clone)]
pub struct Map(pub Value);

impl Map {
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.0 {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, v)| v),
            _ => None,
        }
    }

    pub fn int(&self, key: &str) -> i64 {
        match self.get(key) {
            Some(Value::Int(number)) => *number,
            other => panic!("{}: {:?} in {:?}", key, other, self),
        }
    }

    pub fn text(&self, key: &str) -> String {
        match self.get(key) {
            Some(Value::Str(text)) => text.clone(),
            other => panic!("{}: {:?} in {:?}", key, other, self),
        }
    }

    pub fn map(&self, key: &str) -> Map {
        Map(self.get(key).cloned().unwrap_or(Value::Nil))
    }

    pub fn list(&self, key: &str) -> Vec<Map> {
        match self.get(key) {
            Some(Value::Array(items)) => items.iter().cloned().map(Map).collect(),
            other => panic!("{}: {:?}", key, other),
        }
    }

    pub fn flag(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }
}

/// Everything one call brought.
#[derive(Debug, Default)]
pub struct Answer {
    pub reply: Option<Map>,
    pub error: Option<Map>,
    pub data: [Vec<u8>; 3],
    pub events: Vec<Map>,
}

impl Answer {
    pub fn code(&self) -> String {
        self.error
            .as_ref()
            .map_or("none".into(), |error| error.text("code"))
    }

    pub fn ok(self) -> Answer {
        assert!(self.error.is_none(), "{:?}", self.error);
        self
    }

    pub fn exit(&self) -> &Map {
        let exit = self
            .events
            .iter()
            .find(|event| event.text("type") == "exit");
        exit.unwrap_or_else(|| panic!("no exit: {:?} {:?}", self.error, self.events))
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.data[1]).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.data[2]).into_owned()
    }

    pub fn entries(&self) -> Vec<Map> {
        let events = self
            .events
            .iter()
            .filter(|event| event.text("type") == "entries");
        events.flat_map(|event| event.list("entries")).collect()
    }
}

pub struct Client {
    pub stream: UnixStream,
    buffer: Vec<u8>,
    start: usize,
    next: u32,
    queues: HashMap<u32, VecDeque<Frame>>,
    /// Bytes consumed per channel and not granted yet.
    owed: HashMap<u32, u32>,
    credit: HashMap<u32, u64>,
    /// False: never grant (a client that does not read on).
    pub grants: bool,
}

impl Client {
    pub fn new(stream: UnixStream) -> Client {
        Client {
            stream,
            buffer: Vec::new(),
            start: 0,
            next: 1,
            queues: HashMap::new(),
            owed: HashMap::new(),
            credit: HashMap::new(),
            grants: true,
        }
    }

    pub fn hello(&mut self) -> Map {
        let hello = Pack::map(3)
            .key("protocol")
            .array(2)
            .item_uint(1)
            .item_uint(1)
            .text("build", "test")
            .key("features")
            .array(0)
            .done();
        self.send(Kind::Hello, 0, 0, &hello);
        let frame = self.read_frame().expect("hello");
        assert_eq!(frame.header.kind, Kind::Hello);
        frame.map()
    }

    pub fn send(&mut self, kind: Kind, flags: u8, channel: u32, payload: &[u8]) {
        self.try_send(kind, flags, channel, payload).expect("send");
    }

    pub fn try_send(
        &mut self,
        kind: Kind,
        flags: u8,
        channel: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let mut bytes = encode_header(kind, flags, channel, payload.len()).to_vec();
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes)
    }

    /// The next frame of any channel; None when the link is closed.
    pub fn read_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(bytes) = self.buffer.get(self.start..self.start + HEADER) {
                let header = decode_header(bytes.try_into().expect("size")).expect("valid header");
                let from = self.start + HEADER;
                let to = from + header.length;
                if self.buffer.len() >= to {
                    let payload = self.buffer[from..to].to_vec();
                    self.start = to;
                    return Some(Frame { header, payload });
                }
            }
            if self.start > 1 << 20 || self.start == self.buffer.len() {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let old = self.buffer.len();
            self.buffer.resize(old + 262_144, 0);
            let got = match self.stream.read(&mut self.buffer[old..]) {
                Ok(got) => got,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
                Err(error) => panic!("read: {}", error),
            };
            self.buffer.truncate(old + got);
            if got == 0 {
                return None;
            }
        }
    }

    /// The next frame of one channel; grants credit as a consumer would.
    pub fn next(&mut self, channel: u32) -> Option<Frame> {
        loop {
            let queued = self.queues.get_mut(&channel).and_then(VecDeque::pop_front);
            if let Some(frame) = queued {
                if matches!(frame.header.kind, Kind::Data | Kind::Event) && self.grants {
                    let owed = self.owed.entry(channel).or_default();
                    *owed += frame.payload.len() as u32;
                    if *owed >= 131_072 {
                        let grant = std::mem::take(owed);
                        // The agent may have closed the channel or the link meanwhile.
                        let _ = self.try_send(Kind::Credit, 0, channel, &grant.to_be_bytes());
                    }
                }
                return Some(frame);
            }
            self.pump()?;
        }
    }

    /// Reads one frame and files it.
    pub fn pump(&mut self) -> Option<()> {
        let frame = self.read_frame()?;
        if frame.header.kind == Kind::Credit {
            let bytes: [u8; 4] = frame.payload[..].try_into().expect("credit");
            let credit = self.credit.entry(frame.header.channel).or_insert(262_144);
            *credit += u64::from(u32::from_be_bytes(bytes));
        } else {
            self.queues
                .entry(frame.header.channel)
                .or_default()
                .push_back(frame);
        }
        Some(())
    }

    pub fn open(&mut self, method: &str, params: Vec<u8>, fin: bool) -> u32 {
        let channel = self.next;
        self.next += 2;
        let open = Pack::map(2)
            .text("method", method)
            .key("params")
            .raw(&params)
            .done();
        self.send(Kind::Open, if fin { FIN } else { 0 }, channel, &open);
        channel
    }

    /// Sends data within the credit, reading what comes meanwhile.
    pub fn write(&mut self, channel: u32, bytes: &[u8], fin: bool) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let credit = *self.credit.entry(channel).or_insert(262_144);
            if credit == 0 {
                if self.pump().is_none() {
                    return;
                }
                continue;
            }
            let fits = rest.len().min(credit as usize).min(65_536);
            self.send(Kind::Data, 0, channel, &rest[..fits]);
            *self.credit.entry(channel).or_default() -= fits as u64;
            rest = &rest[fits..];
        }
        if fin {
            self.send(Kind::End, 0, channel, &[]);
        }
    }

    /// Reads a call to its end.
    pub fn finish(&mut self, channel: u32) -> Answer {
        let mut answer = Answer::default();
        while let Some(frame) = self.next(channel) {
            let header = frame.header;
            match header.kind {
                Kind::Reply if header.flags & ERROR != 0 => answer.error = Some(frame.map()),
                Kind::Reply => answer.reply = Some(frame.map()),
                Kind::Data => {
                    answer.data[header.stream() as usize].extend_from_slice(&frame.payload)
                }
                Kind::Event => answer.events.push(frame.map()),
                Kind::End if header.flags & ERROR != 0 => answer.error = Some(frame.map()),
                _ => {}
            }
            if header.flags & FIN != 0 || header.kind == Kind::End {
                return answer;
            }
        }
        panic!("the link closed before the call was over: {:?}", answer);
    }

    pub fn call(&mut self, method: &str, params: Vec<u8>) -> Answer {
        let channel = self.open(method, params, true);
        self.finish(channel)
    }

    pub fn try_call(&mut self, method: &str, params: Vec<u8>) -> std::io::Result<()> {
        let channel = self.next;
        self.next += 2;
        let open = Pack::map(2)
            .text("method", method)
            .key("params")
            .raw(&params)
            .done();
        self.try_send(Kind::Open, FIN, channel, &open)
    }

    pub fn exec(&mut self, command: &str) -> Answer {
        self.call("ExecCommand", Pack::map(1).text("command", command).done())
    }

    pub fn spawn(&mut self, command: &str) -> i64 {
        let answer = self
            .call("SpawnSession", Pack::map(1).text("command", command).done())
            .ok();
        answer.reply.expect("reply").int("id")
    }

    pub fn write_file(&mut self, params: Vec<u8>, content: &[u8]) -> Answer {
        let channel = self.open("WriteFile", params, false);
        self.write(channel, content, true);
        self.finish(channel)
    }

    /// Makes a program. By the agent: a process that another test forks has
    /// what this one writes open for a moment, and such a program cannot run.
    pub fn write_program(&mut self, path: &str, content: &str) {
        let params = Pack::map(2).text("path", path).uint("mode", 0o755);
        self.write_file(params.done(), content.as_bytes()).ok();
    }

    pub fn read_file(&mut self, path: &str) -> Answer {
        self.call("ReadFile", Pack::map(1).text("path", path).done())
    }

    pub fn raw_fd(&self) -> i32 {
        self.stream.as_raw_fd()
    }
}

/// Waits for something to become true.
pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    let since = Instant::now();
    while !check() {
        assert!(since.elapsed() < PATIENCE, "waited in vain for {}", what);
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn process_exists(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid)).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim_start().chars().next());
    state.map_or(false, |state| state != 'Z' && state != 'X')
}

pub fn exists(path: &str) -> bool {
    Path::new(path).symlink_metadata().is_ok()
}

pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}
