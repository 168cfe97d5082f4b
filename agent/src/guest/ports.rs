//! ListPorts: TCP sockets that listen, from /proc/net, and whose they are, by
//! looking for their inodes among the descriptors of every process.

use super::fault::Fault;
use super::identity::{act_as, Identity};
use super::pack::Pack;
use super::params::Params;
use super::pool::{Job, Message, Next, StepIo};
use super::server::Server;
use super::session::Source;
use super::tree;
use super::user::UserDatabase;
use crate::sys::abi;
use crate::sys::dir::{c_path, open_at, read_link_at, DirReader};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;

/// Most ports told of, the lowest first: an answer is one frame.
const MAX_PORTS: usize = 512;
/// Most letters of a name.
const NAME: usize = 32;
/// How much of each table of sockets is looked at, in bytes.
const TABLE: u64 = 16 << 20;
/// Descriptors looked at in one step before others get the thread.
const TURN: usize = 4096;
/// Most descriptors looked at of one process.
const MAX_DESCRIPTORS: usize = 65_536;
/// State of a socket that listens, as the tables show it.
const LISTEN: &str = "0A";

/// A socket that listens, by port, address and inode.
type Socket = (u16, IpAddr, u64);

#[derive(Default)]
struct Owner {
    uid: u32,
    pid: Option<i32>,
    command: Option<String>,
}

/// Descriptors of one process under way.
struct Look {
    pid: i32,
    /// The process's own: its descriptors are shown to itself, not to any root.
    identity: Identity,
    reader: DirReader,
    seen: usize,
}

struct PortsJob {
    /// The agent's own user and group.
    own: (u32, u32),
    sockets: BTreeMap<Socket, Owner>,
    by_inode: HashMap<u64, Socket>,
    /// Processes still to be looked at, the oldest last. None before the first step.
    pids: Option<Vec<i32>>,
    now: Option<Look>,
}

impl Server {
    pub fn list_ports(&mut self, source: Source, params: Params) -> Result<(), Fault> {
        params.finish()?;
        let own = self.setup.agent_ids();
        let job = PortsJob {
            own,
            sockets: BTreeMap::new(),
            by_inode: HashMap::new(),
            pids: None,
            now: None,
        };
        self.start_job(source, Identity::of_agent(own), Box::new(job));
        Ok(())
    }
}

impl PortsJob {
    fn begin(&mut self) -> Result<Vec<i32>, Fault> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(File::open);
        if let [Err(error), Err(_)] = &tables {
            let message = format!("the kernel of the sandbox does not list sockets: {}", error);
            return Err(Fault::new("unsupported", message));
        }
        for table in tables.into_iter().flatten() {
            for line in BufReader::new(table.take(TABLE)).split(b'\n').flatten() {
                if let Some((socket, uid)) = parse(&String::from_utf8_lossy(&line)) {
                    let owner = Owner {
                        uid,
                        ..Owner::default()
                    };
                    self.sockets.insert(socket, owner);
                    // The highest goes again when there are too many.
                    if self.sockets.len() > MAX_PORTS {
                        let last = self.sockets.keys().next_back().copied();
                        last.and_then(|last| self.sockets.remove(&last));
                    }
                }
            }
        }
        let inodes = self.sockets.keys().map(|socket| (socket.2, *socket));
        self.by_inode = inodes.filter(|(inode, _)| *inode != 0).collect();
        let mut pids: Vec<i32> = match self.by_inode.is_empty() {
            true => Vec::new(),
            false => tree::scan().iter().map(|process| process.pid).collect(),
        };
        pids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(pids)
    }

    /// Opens the descriptors of a process. None when they are not shown to us.
    fn open(&self, pid: i32) -> Option<Look> {
        let meta = fs::metadata(format!("/proc/{}", pid)).ok()?;
        let identity = Identity {
            uid: meta.uid(),
            gid: meta.gid(),
            groups: None,
            switch: self.own.0 == 0 && (meta.uid(), meta.gid()) != self.own,
            own: self.own,
        };
        let path = c_path(format!("/proc/{}/fd", pid).as_bytes()).ok()?;
        let opened = act_as(&identity, || {
            open_at(abi::AT_FDCWD, &path, abi::O_DIRECTORY, 0)
        });
        Some(Look {
            pid,
            identity,
            reader: DirReader::new(opened.ok()?.ok()?),
            seen: 0,
        })
    }

    /// Looks at descriptors of one process. How many.
    fn look(&mut self, mut look: Look) -> usize {
        let mut inodes = Vec::new();
        let before = look.seen;
        let reader = &mut look.reader;
        let seen = &mut look.seen;
        let more = act_as(&look.identity, || {
            while *seen < MAX_DESCRIPTORS && *seen - before < TURN {
                // A process that ended meanwhile has none.
                let name = match reader.next_entry() {
                    Ok(Some((name, _))) => name,
                    Ok(None) | Err(_) => return false,
                };
                *seen += 1;
                let target = read_link_at(reader.raw(), &name);
                inodes.extend(target.ok().and_then(|target| socket_inode(&target)));
            }
            *seen < MAX_DESCRIPTORS
        });
        for inode in inodes {
            let socket = self.by_inode.get(&inode);
            if let Some(owner) = socket.and_then(|socket| self.sockets.get_mut(socket)) {
                if owner.pid.is_none() {
                    owner.pid = Some(look.pid);
                    owner.command = command(look.pid);
                }
            }
        }
        let looked = look.seen - before;
        if more == Ok(true) {
            self.now = Some(look);
        }
        looked
    }

    fn reply(&self) -> Vec<u8> {
        let names = UserDatabase::load().names();
        let mut pack = Pack::map(1).key("ports").array(self.sockets.len());
        for ((port, address, _), owner) in &self.sockets {
            let fields =
                3 + usize::from(owner.pid.is_some()) + usize::from(owner.command.is_some());
            pack = pack
                .nested(fields)
                .uint("port", u64::from(*port))
                .text("address", &address.to_string())
                .text("user", &harmless(names.user(owner.uid).as_bytes()));
            if let Some(pid) = owner.pid {
                pack = pack.int("pid", i64::from(pid));
            }
            if let Some(command) = &owner.command {
                pack = pack.text("command", command);
            }
        }
        pack.done()
    }
}

impl Job for PortsJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let mut pids = match self.pids.take() {
            Some(pids) => pids,
            None => self.begin()?,
        };
        let mut turn = 0;
        while turn < TURN {
            if let Some(look) = self.now.take() {
                turn += self.look(look).max(1);
            } else if let Some(pid) = pids.pop() {
                self.now = self.open(pid);
                turn += 1;
            } else {
                io.out.push(Message::LastReply(self.reply()));
                return Ok(Next::Done);
            }
        }
        self.pids = Some(pids);
        Ok(Next::Output)
    }
}

/// One line of /proc/net/tcp or tcp6, when it is a socket that listens: the
/// socket and the uid it belongs to.
fn parse(line: &str) -> Option<(Socket, u32)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = fields.get(9)?.parse().ok()?;
    let uid = fields.get(7)?.parse().ok()?;
    (port != 0).then_some(((port, ip(address)?, inode), uid))
}

/// An address as the tables show it: words of 32 bits in the order of the machine.
fn ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at..at + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            for (to, from) in bytes.iter_mut().zip(words.iter().flatten()) {
                *to = *from;
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// The inode of a descriptor that is a socket: `socket:[123]`.
fn socket_inode(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The name of a process, which it chose itself.
fn command(pid: i32) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{}/comm", pid)).ok()?;
    file.take(256).read_to_end(&mut bytes).ok()?;
    Some(harmless(&bytes))
}

/// A name without control characters, cut short.
fn harmless(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(name)).into_owned();
    let shown = text.chars().take(NAME);
    shown
        .map(|letter| match letter.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => letter,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_as_the_kernel_writes_them() {
        let four = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0";
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(parse(four), Some(((8080, loopback, 4711), 1000)));
        let six = "  1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1";
        let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(parse(six), Some(((80, loopback, 99), 0)));
        assert_eq!(parse(&four.replace(" 0A ", " 01 ")), None);
        assert_eq!(parse(&four.replace("1F90", "0000")), None);
        for cut in 0..four.len() {
            parse(&four[..cut]);
        }
    }

    #[test]
    fn names_of_processes_are_made_harmless() {
        assert_eq!(harmless(b"node\n"), "node");
        assert_eq!(
            harmless(b"\x1b[31m\xff\n\n"),
            "\u{fffd}[31m\u{fffd}\u{fffd}"
        );
        assert_eq!(harmless(&[b'a'; 200]).len(), NAME);
        assert_eq!(socket_inode(b"socket:[77]"), Some(77));
        assert_eq!(socket_inode(b"socket:[-1]"), None);
        assert_eq!(socket_inode(b"/tmp/socket:[77]"), None);
    }
}
