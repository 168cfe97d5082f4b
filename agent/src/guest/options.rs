//! The command line of `caisson-agent guest`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

#[derive(Debug, PartialEq, Eq)]
pub enum Listen {
    Descriptor(i32),
    Path(String),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub listen: Listen,
    pub user: Option<String>,
    pub cwd: Option<String>,
    pub env: Vec<(String, String)>,
    pub hostname: Option<String>,
    pub seccomp: bool,
    pub loopback: bool,
}

impl Options {
    pub fn parse(args: Vec<OsString>) -> Result<Options, String> {
        let mut listen = None;
        let mut options = Options {
            listen: Listen::Descriptor(-1),
            user: None,
            cwd: None,
            env: Vec::new(),
            hostname: None,
            seccomp: false,
            loopback: false,
        };
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let name = name.to_string_lossy().into_owned();
            let mut value = || match args.next() {
                Some(value) => String::from_utf8(value.into_vec())
                    .map_err(|_| format!("{}: the value is not UTF-8", name)),
                None => Err(format!("{}: needs a value", name)),
            };
            match name.as_str() {
                "--listen-fd" => {
                    let number: i32 = value()?.parse().unwrap_or(-1);
                    if number < 3 {
                        return Err("--listen-fd: expected a descriptor above 2".into());
                    }
                    listen = Some(Listen::Descriptor(number));
                }
                "--listen" => listen = Some(Listen::Path(value()?)),
                "--user" => options.user = Some(value()?),
                "--cwd" => {
                    let cwd = value()?;
                    if !cwd.starts_with('/') {
                        return Err("--cwd: expected an absolute path".into());
                    }
                    options.cwd = Some(cwd);
                }
                "--env" => match value()?.split_once('=') {
                    Some((key, text)) if !key.is_empty() => {
                        options.env.push((key.to_owned(), text.to_owned()));
                    }
                    _ => return Err("--env: expected NAME=VALUE".into()),
                },
                "--hostname" => options.hostname = Some(value()?),
                "--seccomp" => options.seccomp = true,
                "--loopback" => options.loopback = true,
                _ => return Err(format!("unknown option {}", name)),
            }
        }
        options.listen = listen.ok_or("one of --listen-fd and --listen is required")?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(OsString::from).collect())
    }

    #[test]
    fn options_are_taken_and_checked() {
        let options = parse(&[
            "--listen-fd",
            "5",
            "--env",
            "A=b=c",
            "--env",
            "D=",
            "--seccomp",
        ])
        .expect("ok");
        assert_eq!(options.listen, Listen::Descriptor(5));
        assert_eq!(
            options.env,
            vec![("A".into(), "b=c".into()), ("D".into(), String::new())]
        );
        assert!(options.seccomp && !options.loopback);
        for bad in [
            &[][..],
            &["--listen-fd"],
            &["--listen-fd", "2"],
            &["--listen-fd", "x"],
            &["--listen", "/a", "--env", "=x"],
            &["--listen", "/a", "--cwd", "x"],
            &["--listen", "/a", "--frobnicate"],
        ] {
            assert!(parse(bad).is_err(), "{:?}", bad);
        }
    }
}
