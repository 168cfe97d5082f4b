//! Users and groups of the sandbox: /etc/passwd and /etc/group, read by
//! ourselves (a static program cannot load name services) and bounded, since
//! whoever is in the sandbox may have written them.

use super::fault::Fault;
use super::params::clip;
use crate::sys::abi::O_NONBLOCK;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// How much of each file is looked at, in bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// Most supplementary groups of one user.
const GROUP_LIMIT: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name, or the uid in digits for a user without an entry.
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
    pub shell: String,
}

struct PasswdLine<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

fn passwd_lines(text: &str) -> impl Iterator<Item = PasswdLine<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let _gecos = fields.next()?;
        let home = fields.next().unwrap_or("");
        let shell = fields.next().unwrap_or("");
        Some(PasswdLine {
            name,
            uid,
            gid,
            home,
            shell,
        })
    })
}

fn group_lines(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let gid = fields.next()?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

/// The two files as they are now.
#[derive(Default)]
pub struct UserDatabase {
    passwd: String,
    group: String,
}

/// The file's text, cut at the limit; empty when it cannot be read. A pipe or
/// device in its place must not hold us up.
fn read_bounded(path: &str) -> String {
    let mut bytes = Vec::new();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    if let Ok(file) = opened {
        if let Some(meta) = file.metadata().ok().filter(|meta| meta.is_file()) {
            // Room for all of it, so that one read does: this runs before every process.
            bytes.reserve(meta.len().min(FILE_LIMIT) as usize + 1);
            // What could be read counts; a database cut short is a database.
            let _partial = file.take(FILE_LIMIT).read_to_end(&mut bytes);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl UserDatabase {
    pub fn load() -> UserDatabase {
        UserDatabase::parse(read_bounded("/etc/passwd"), read_bounded("/etc/group"))
    }

    pub fn parse(passwd: String, group: String) -> UserDatabase {
        UserDatabase { passwd, group }
    }

    pub fn has_user(&self, name: &str) -> bool {
        passwd_lines(&self.passwd).any(|line| line.name == name)
    }

    /// `name`, `uid` or `uid:gid`.
    pub fn resolve(&self, text: &str) -> Result<User, Fault> {
        let unknown = || Fault::new("no_such_user", format!("no such user: {}", clip(text)));
        if let Some((uid, gid)) = text.split_once(':') {
            let uid: u32 = uid.parse().map_err(|_| unknown())?;
            let gid: u32 = gid.parse().map_err(|_| unknown())?;
            let mut user = self.by_uid(uid);
            user.gid = gid;
            user.groups = vec![gid];
            return valid(user).ok_or_else(unknown);
        }
        if let Some(line) = passwd_lines(&self.passwd).find(|line| line.name == text) {
            return valid(self.complete(line)).ok_or_else(unknown);
        }
        let uid: u32 = text.parse().map_err(|_| unknown())?;
        valid(self.by_uid(uid)).ok_or_else(unknown)
    }

    /// The user with this uid, with or without an entry.
    pub fn by_uid(&self, uid: u32) -> User {
        match passwd_lines(&self.passwd).find(|line| line.uid == uid) {
            Some(line) => self.complete(line),
            None => User {
                name: uid.to_string(),
                uid,
                gid: uid,
                groups: vec![uid],
                home: "/".to_owned(),
                shell: "/bin/sh".to_owned(),
            },
        }
    }

    fn complete(&self, line: PasswdLine<'_>) -> User {
        let mut groups = vec![line.gid];
        for (_, gid, members) in group_lines(&self.group) {
            if groups.len() < GROUP_LIMIT
                && gid != u32::MAX
                && !groups.contains(&gid)
                && members.split(',').any(|member| member == line.name)
            {
                groups.push(gid);
            }
        }
        User {
            name: line.name.to_owned(),
            uid: line.uid,
            gid: line.gid,
            groups,
            home: or_default(line.home, "/"),
            shell: or_default(line.shell, "/bin/sh"),
        }
    }

    pub fn group_id(&self, text: &str) -> Option<u32> {
        group_lines(&self.group)
            .find(|(name, _, _)| *name == text)
            .map(|(_, gid, _)| gid)
            .or_else(|| text.parse().ok())
            .filter(|&gid| gid != u32::MAX)
    }

    /// Names for uids and gids, for listings.
    pub fn names(&self) -> Names {
        let mut names = Names::default();
        for line in passwd_lines(&self.passwd) {
            names
                .users
                .entry(line.uid)
                .or_insert_with(|| line.name.to_owned());
        }
        for (name, gid, _) in group_lines(&self.group) {
            names.groups.entry(gid).or_insert_with(|| name.to_owned());
        }
        names
    }
}

/// The id -1 means "no change" to the kernel and can be nobody's.
fn valid(user: User) -> Option<User> {
    (user.uid != u32::MAX && user.gid != u32::MAX).then_some(user)
}

fn or_default(text: &str, default: &str) -> String {
    if text.is_empty() || text.contains('\0') {
        default.to_owned()
    } else {
        text.to_owned()
    }
}

#[derive(Default)]
pub struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    pub fn user(&self, uid: u32) -> String {
        self.users
            .get(&uid)
            .cloned()
            .unwrap_or_else(|| uid.to_string())
    }

    pub fn group(&self, gid: u32) -> String {
        self.groups
            .get(&gid)
            .cloned()
            .unwrap_or_else(|| gid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> UserDatabase {
        UserDatabase::parse(
            "root:x:0:0:root:/root:/bin/bash\nbroken\nana:x:1000:100::/home/ana:\n:x:5:5:::\n"
                .into(),
            "users:x:100:\nvideo:x:44:bob,ana\nwheel:x:10:banana\n".into(),
        )
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let ana = database().resolve("ana").expect("ana");
        assert_eq!((ana.uid, ana.gid), (1000, 100));
        assert_eq!(ana.groups, vec![100, 44]);
        assert_eq!(
            (ana.home.as_str(), ana.shell.as_str()),
            ("/home/ana", "/bin/sh")
        );
        assert_eq!(database().resolve("1000").expect("by uid").name, "ana");
        let other = database().resolve("77:88").expect("numbers");
        assert_eq!((other.uid, other.gid, other.home.as_str()), (77, 88, "/"));
    }

    #[test]
    fn unknown_and_impossible_users_are_refused() {
        for text in [
            "nobody-here",
            "",
            "1:x",
            "4294967295",
            "1:4294967295",
            "-1",
            "9999999999",
        ] {
            assert_eq!(
                database().resolve(text).unwrap_err().code,
                "no_such_user",
                "{}",
                text
            );
        }
    }
}
