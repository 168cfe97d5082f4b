//! WriteFile: atomic by a temporary file and a rename, or in place.

use super::super::fault::Fault;
use super::super::pool::{Job, Message, Next, StepIo};
use super::entry;
use super::hidden::HiddenFile;
use crate::sys::abi::{self, O_NONBLOCK};
use crate::sys::fd;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub struct WriteJob {
    pub path: String,
    pub mode: Option<u32>,
    pub offset: Option<u64>,
    pub append: bool,
    pub atomic: bool,
    pub create_parents: bool,
    open: Option<Target>,
}

/// Bytes after which the disk is set to work, so that little is left to wait
/// for at the end.
const WRITE_BACK: usize = 8 << 20;

struct Target {
    content: Content,
    /// Bytes written since the disk was last set to work.
    unsynced: usize,
}

enum Content {
    /// Put in place at the end, or never.
    Hidden(HiddenFile),
    InPlace(File),
}

impl Target {
    fn new(content: Content) -> Target {
        Target {
            content,
            unsynced: 0,
        }
    }

    fn file(&mut self) -> &mut File {
        match &mut self.content {
            Content::Hidden(hidden) => &mut hidden.file,
            Content::InPlace(file) => file,
        }
    }
}

impl WriteJob {
    pub fn new(path: String) -> WriteJob {
        WriteJob {
            path,
            mode: None,
            offset: None,
            append: false,
            atomic: true,
            create_parents: true,
            open: None,
        }
    }

    fn fault(&self, error: &io::Error) -> Fault {
        Fault::from_io(error, &self.path)
    }

    fn open(&self) -> Result<Target, Fault> {
        let place = place(&self.path, self.create_parents)?;
        let regular = place.existing.as_ref().map_or(true, Metadata::is_file);
        if self.atomic && regular && !place.dangling {
            let hidden = HiddenFile::at(&place.path).map_err(|error| self.fault(&error))?;
            return Ok(Target::new(Content::Hidden(hidden)));
        }
        let file = self.open_in_place(&place.path)?;
        Ok(Target::new(Content::InPlace(file)))
    }

    fn open_in_place(&self, path: &Path) -> Result<File, Fault> {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(!self.append && self.offset.is_none())
            .append(self.append)
            .mode(self.mode.unwrap_or(0o644))
            .custom_flags(O_NONBLOCK)
            .open(path);
        let mut file = opened.map_err(|error| self.fault(&error))?;
        let kind = file
            .metadata()
            .map_err(|error| self.fault(&error))?
            .file_type();
        if !kind.is_file() && !kind.is_char_device() {
            return Err(Fault::invalid(format!("{}: not a regular file", self.path)));
        }
        if let (Some(mode), true) = (self.mode, kind.is_file()) {
            let changed = file.set_permissions(Permissions::from_mode(mode));
            changed.map_err(|error| self.fault(&error))?;
        }
        if let Some(offset) = self.offset {
            file.seek(SeekFrom::Start(offset))
                .map_err(|error| self.fault(&error))?;
        }
        Ok(file)
    }

    /// Everything is written: on disk, under its name, and answered.
    fn finish(&self, target: Target) -> Result<Vec<u8>, Fault> {
        let meta = match target.content {
            Content::Hidden(mut hidden) => hidden.put_in_place(self.mode),
            Content::InPlace(file) => match file.sync_data() {
                // EINVAL: a device, which keeps nothing.
                Err(error) if error.raw_os_error() != Some(abi::EINVAL) => Err(error),
                _ => file.metadata(),
            },
        };
        let meta = meta.map_err(|error| self.fault(&error))?;
        Ok(entry::reply(Path::new(&self.path), &meta))
    }
}

/// Where the bytes for a path belong.
pub struct Place {
    pub path: PathBuf,
    /// What is there already; never a directory.
    pub existing: Option<Metadata>,
    /// `path` is a symlink to nothing.
    pub dangling: bool,
}

/// Finds the file that a path names, or will name.
pub fn place(asked: &str, create_parents: bool) -> Result<Place, Fault> {
    let fault = |error| Fault::from_io(&error, asked);
    let mut path = PathBuf::from(asked);
    if asked.ends_with('/') {
        let message = format!("{}: names a directory", asked);
        return Err(Fault::new("is_a_directory", message));
    }
    if let (true, Some(parent)) = (create_parents, path.parent()) {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
        made.map_err(|error| match error.raw_os_error() {
            Some(abi::EEXIST) => fault(io::Error::from_raw_os_error(abi::ENOTDIR)),
            _ => fault(error),
        })?;
    }
    // A link is written through, so that it stays a link.
    let mut dangling = false;
    if fs::symlink_metadata(&path).map_or(false, |meta| meta.file_type().is_symlink()) {
        match fs::canonicalize(&path) {
            Ok(target) => path = target,
            Err(error) if error.raw_os_error() == Some(abi::ENOENT) => dangling = true,
            Err(error) => return Err(fault(error)),
        }
    }
    let existing = match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => {
            let message = format!("{}: is a directory", asked);
            return Err(Fault::new("is_a_directory", message));
        }
        Ok(meta) => Some(meta),
        Err(_) => None, // opening it says why, if it matters
    };
    Ok(Place {
        path,
        existing,
        dangling,
    })
}

/// A name that nobody else uses, for what is not whole yet.
pub fn temporary_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let clock = super::super::session::now_ms();
    format!(".caisson-{}-{:x}-{}.tmp", std::process::id(), clock, number)
}

impl Job for WriteJob {
    fn step(&mut self, io: &mut StepIo) -> Result<Next, Fault> {
        let mut target = match self.open.take() {
            Some(target) => target,
            None => self.open()?,
        };
        let bytes = std::mem::take(&mut io.input);
        target
            .file()
            .write_all(&bytes)
            .map_err(|error| self.fault(&error))?;
        target.unsynced += bytes.len();
        if target.unsynced >= WRITE_BACK {
            target.unsynced = 0;
            fd::begin_write_back(target.file());
        }
        if io.input_ended {
            io.out.push(Message::LastReply(self.finish(target)?));
            return Ok(Next::Done);
        }
        self.open = Some(target);
        Ok(Next::Input)
    }
}
