//! The command line of the supervisor. A path is a word of its own, so nothing
//! needs escaping; relative paths are relative to `--dir`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// `COUNT` ids from `inside` on are `outside` and the following on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// One folder or file that takes part in a mount.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    pub target: OsString,
    pub upper: OsString,
    pub work: OsString,
    /// Topmost first.
    pub lower: Vec<OsString>,
    pub id_map: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Bind {
    pub source: OsString,
    pub target: OsString,
    pub read_only: bool,
    pub id_map: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Overlay(Overlay),
    Bind(Bind),
    /// Makes a directory, mode 0755; every component must be a true directory.
    Directory(OsString),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Stay in the machine's; mappings serve id-mapped mounts only.
    None,
    /// Mounts are made with the machine's rights, then the runtime enters the
    /// mapped user namespace as its root.
    Runtime,
    /// The supervisor itself lives in the mapped user namespace (plain user).
    Supervisor,
}

#[derive(Debug)]
pub struct Options {
    pub dir: PathBuf,
    pub socket: Option<OsString>,
    pub lock: OsString,
    pub console: OsString,
    pub exit_record: OsString,
    /// Where the private tmpfs with the mounts lies; it hides what is there.
    pub stage: OsString,
    pub status_fd: Option<i32>,
    pub pid_file: Option<OsString>,
    pub namespace: Namespace,
    pub uid_map: Vec<IdRange>,
    pub gid_map: Vec<IdRange>,
    pub hide: Vec<OsString>,
    pub steps: Vec<Step>,
    pub cgroups: Vec<OsString>,
    pub owned_cgroups: Vec<OsString>,
    /// Most processes of the runtime's user below the supervisor's namespace.
    pub processes: Option<u32>,
    pub start_limit: Duration,
    pub stop_limit: Duration,
    pub runtime: Vec<OsString>,
}

impl Options {
    pub fn parse(arguments: Vec<OsString>) -> Result<Options, String> {
        let mut options = Options {
            dir: PathBuf::new(),
            socket: None,
            lock: "lock".into(),
            console: "console.log".into(),
            exit_record: "exit.json".into(),
            stage: "/dev/shm".into(),
            status_fd: None,
            pid_file: None,
            namespace: Namespace::None,
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            hide: Vec::new(),
            steps: Vec::new(),
            cgroups: Vec::new(),
            owned_cgroups: Vec::new(),
            processes: None,
            start_limit: Duration::from_secs(10),
            stop_limit: Duration::from_secs(5),
            runtime: Vec::new(),
        };
        let mut words = arguments.into_iter();
        while let Some(word) = words.next() {
            if word == "--" {
                options.runtime = words.by_ref().collect();
                break;
            }
            let name = word.to_str().unwrap_or("").to_owned();
            options.take(&name, &mut words)?;
        }
        options.check()?;
        Ok(options)
    }

    fn take(
        &mut self,
        name: &str,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), String> {
        let mut value = || words.next().ok_or(format!("{} needs a value", name));
        match name {
            "--dir" => self.dir = value()?.into(),
            "--socket" => self.socket = Some(value()?),
            "--lock" => self.lock = value()?,
            "--console" => self.console = value()?,
            "--exit-record" => self.exit_record = value()?,
            "--stage" => self.stage = value()?,
            "--status-fd" => self.status_fd = Some(number(name, &value()?)? as i32),
            "--pid-file" => self.pid_file = Some(value()?),
            "--enter-userns" => self.namespace = Namespace::Runtime,
            "--own-userns" => self.namespace = Namespace::Supervisor,
            "--uid-map" => self.uid_map.push(id_range(name, &value()?)?),
            "--gid-map" => self.gid_map.push(id_range(name, &value()?)?),
            "--hide" => self.hide.push(value()?),
            "--overlay" => self.steps.push(Step::Overlay(Overlay {
                target: value()?,
                ..Overlay::default()
            })),
            "--bind" => self.steps.push(Step::Bind(Bind {
                source: value()?,
                target: value()?,
                ..Bind::default()
            })),
            "--directory" => self.steps.push(Step::Directory(value()?)),
            "--cgroup" => self.cgroups.push(value()?),
            "--own-cgroup" => self.owned_cgroups.push(value()?),
            "--processes" => self.processes = Some(number(name, &value()?)?),
            "--start-limit-ms" => self.start_limit = milliseconds(name, &value()?)?,
            "--stop-limit-ms" => self.stop_limit = milliseconds(name, &value()?)?,
            "--lower" | "--upper" | "--work" => {
                let path = value()?;
                match (name, self.steps.last_mut()) {
                    ("--lower", Some(Step::Overlay(overlay))) => overlay.lower.push(path),
                    ("--upper", Some(Step::Overlay(overlay))) => overlay.upper = path,
                    ("--work", Some(Step::Overlay(overlay))) => overlay.work = path,
                    _ => return Err(format!("{} must follow --overlay", name)),
                }
            }
            "--id-map" => match self.steps.last_mut() {
                Some(Step::Overlay(overlay)) => overlay.id_map = true,
                Some(Step::Bind(bind)) => bind.id_map = true,
                _ => return Err(format!("{} must follow --overlay or --bind", name)),
            },
            "--read-only" => match self.steps.last_mut() {
                Some(Step::Bind(bind)) => bind.read_only = true,
                _ => return Err(format!("{} must follow --bind", name)),
            },
            _ => return Err(format!("unknown option {:?}", name)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.dir.as_os_str().is_empty() {
            return Err("--dir is needed".into());
        }
        if self.runtime.is_empty() {
            return Err("a runtime command after -- is needed".into());
        }
        let mapped = !self.uid_map.is_empty() && !self.gid_map.is_empty();
        if !mapped && (self.namespace != Namespace::None || self.wants_id_map()) {
            return Err("--uid-map and --gid-map are needed".into());
        }
        for step in &self.steps {
            if let Step::Overlay(overlay) = step {
                if overlay.lower.is_empty() || overlay.upper.is_empty() || overlay.work.is_empty() {
                    return Err("an overlay needs --lower, --upper and --work".into());
                }
                if folder_of(&overlay.upper) != folder_of(&overlay.work) {
                    return Err("--upper and --work must lie in one folder".into());
                }
            }
        }
        Ok(())
    }

    /// Whether any mount shows its owners shifted.
    pub fn wants_id_map(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Overlay(overlay) => overlay.id_map,
            Step::Bind(bind) => bind.id_map,
            Step::Directory(_) => false,
        })
    }
}

/// The folder and the name that a path ends with.
pub fn folder_of(path: &OsStr) -> PathBuf {
    let folder = std::path::Path::new(path).parent();
    match folder {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn number(name: &str, word: &OsStr) -> Result<u32, String> {
    word.to_str()
        .and_then(|text| text.parse().ok())
        .ok_or(format!("{} needs a number, not {:?}", name, word))
}

fn milliseconds(name: &str, word: &OsStr) -> Result<Duration, String> {
    Ok(Duration::from_millis(number(name, word)?.into()))
}

fn id_range(name: &str, word: &OsStr) -> Result<IdRange, String> {
    let wrong = || format!("{} needs INSIDE:OUTSIDE:COUNT, not {:?}", name, word);
    let numbers: Option<Vec<u32>> = word
        .to_str()
        .map(|text| text.split(':').map(|part| part.parse().ok()).collect())
        .unwrap_or(None);
    match numbers.as_deref() {
        Some([inside, outside, count]) if *count > 0 => Ok(IdRange {
            inside: *inside,
            outside: *outside,
            count: *count,
        }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        Options::parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn details_belong_to_the_step_before_them() {
        let options = parse(&[
            "--dir",
            "/d",
            "--uid-map",
            "0:9:5",
            "--gid-map",
            "0:9:5",
            "--overlay",
            "root",
            "--lower",
            "a,b:c",
            "--upper",
            "l/upper",
            "--work",
            "l/work",
            "--id-map",
            "--bind",
            "/x",
            "root/x",
            "--read-only",
            "--",
            "runtime",
            "--dir",
        ])
        .unwrap();
        assert_eq!(options.runtime, ["runtime", "--dir"]);
        assert_eq!(
            options.uid_map,
            [IdRange {
                inside: 0,
                outside: 9,
                count: 5
            }]
        );
        match &options.steps[..] {
            [Step::Overlay(overlay), Step::Bind(bind)] => {
                assert_eq!(overlay.lower, ["a,b:c"]);
                assert!(overlay.id_map && bind.read_only && !bind.id_map);
            }
            other => panic!("{:?}", other),
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["--", "x"][..],
            &["--dir", "/d"],
            &["--dir", "/d", "--"],
            &["--dir", "/d", "--lower", "x", "--", "x"],
            &["--dir", "/d", "--enter-userns", "--", "x"],
            &["--dir", "/d", "--uid-map", "0:1", "--", "x"],
            &["--dir", "/d", "--uid-map", "0:1:0", "--", "x"],
            &[
                "--dir",
                "/d",
                "--overlay",
                "r",
                "--lower",
                "l",
                "--upper",
                "a/u",
                "--work",
                "b/w",
                "--",
                "x",
            ],
            &["--dir", "/d", "--colour", "--", "x"],
        ] {
            assert!(parse(words).is_err(), "{:?}", words);
        }
    }
}
