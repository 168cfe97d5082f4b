//! The mounts of one sandbox, made in a mount namespace of the supervisor: the
//! machine's table never shows them and they vanish with the last process.
//!
//! They lie on a private tmpfs (the stage), laid over a folder of the machine
//! that nothing of the box uses. Layers are first cloned to short names there:
//! overlay options need no escaping and stay far below their length limit, each
//! layer can be id-mapped, and the box sees no path of the machine in its table.

use super::options::{folder_of, Bind, IdRange, Namespace, Options, Overlay, Step};
use super::{os, userns};
use crate::sys::mount::{self, TreeAttributes};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::path::Path;

/// Failures say which step failed.
type Outcome<T> = Result<T, String>;

trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| format!("{}: {}", what(), error))
    }
}

/// Makes the namespaces and all mounts. Returns the user namespace of the box
/// when one was made apart.
///
/// Targets lie on the stage, sources are relative to `--dir`. Everything on the
/// stage can be reached by the box's own ids, wherever the sources are.
pub fn prepare(options: &Options) -> Outcome<Option<OwnedFd>> {
    let own = options.namespace == Namespace::Supervisor;
    if own {
        userns::enter_own(&options.uid_map, &options.gid_map)
            .context(|| "user namespace".into())?;
    }
    mount::leave(mount::CLONE_NEWNS).context(|| "mount namespace".into())?;
    mount::make_slave().context(|| "mount propagation".into())?;
    for path in &options.hide {
        mount::detach(path).context(|| format!("hide {:?}", path))?;
    }
    let namespace = if options.namespace == Namespace::Runtime || (!own && options.wants_id_map()) {
        let made = userns::make(&options.uid_map, &options.gid_map);
        Some(made.context(|| "user namespace".into())?)
    } else {
        None
    };
    if options.steps.is_empty() {
        return Ok(namespace);
    }
    let flags = mount::MS_NOSUID | mount::MS_NODEV;
    mount::mount_new("tmpfs", &options.stage, flags, "mode=755,size=64k")
        .context(|| "stage".into())?;
    let stage = mount::open_directory(&options.stage).context(|| "stage".into())?;
    let mut maker = Maker {
        place: Path::new(&options.stage),
        stage,
        id_map: namespace.as_ref(),
        user_attributes: own,
        owner: box_root(options),
        staged: 0,
    };
    for step in &options.steps {
        match step {
            Step::Overlay(overlay) => maker.overlay(overlay)?,
            Step::Bind(bind) => maker.bind(bind)?,
            Step::Directory(path) => maker.directories(path)?,
        }
    }
    Ok(namespace)
}

struct Maker<'a> {
    place: &'a Path,
    stage: OwnedFd,
    id_map: Option<&'a OwnedFd>,
    user_attributes: bool,
    /// Root of the box as the machine sees it: the owner of what we make there.
    owner: (u32, u32),
    staged: usize,
}

impl Maker<'_> {
    /// Opens a mount point on the stage; one directly on it is made first.
    fn target(&self, path: &OsStr, directory: bool) -> Outcome<OwnedFd> {
        let what = || format!("mount point {:?}", path);
        if Path::new(path).components().count() == 1 {
            let made = if directory {
                fs::create_dir(self.place.join(path))
            } else {
                fs::File::create(self.place.join(path)).map(drop)
            };
            made.context(what)?;
        }
        mount::open_beneath(&self.stage, path, directory).context(what)
    }

    fn tree(
        &self,
        path: &OsStr,
        attributes: TreeAttributes<'_>,
        deep: bool,
    ) -> io::Result<OwnedFd> {
        let tree = mount::clone_tree(path, deep)?;
        mount::set_attributes(&tree, attributes, deep)?;
        Ok(tree)
    }

    fn mapping(&self, wanted: bool) -> Option<&OwnedFd> {
        self.id_map.filter(|_| wanted)
    }

    /// Clones the folder `path` onto the stage and returns its name there.
    fn stage_layer(&mut self, path: &OsStr, id_map: bool, read_only: bool) -> io::Result<String> {
        let attributes = TreeAttributes {
            read_only,
            id_map: self.mapping(id_map),
            ..TreeAttributes::default()
        };
        let tree = self.tree(path, attributes, false)?;
        let name = format!("layer-{}", self.staged);
        self.staged += 1;
        let place = self.place.join(&name);
        fs::create_dir(&place)?;
        mount::attach(&tree, &mount::open_directory(place.as_os_str())?)?;
        place
            .into_os_string()
            .into_string()
            .map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    fn overlay(&mut self, overlay: &Overlay) -> Outcome<()> {
        let mut lower = Vec::new();
        for path in &overlay.lower {
            let staged = self.stage_layer(path, overlay.id_map, true);
            lower.push(staged.context(|| format!("layer {:?}", path))?);
        }
        let folder = folder_of(&overlay.upper);
        let upper = self
            .stage_layer(folder.as_os_str(), overlay.id_map, false)
            .context(|| format!("layer {:?}", folder))?;
        let name = |path: &OsString| -> Outcome<String> {
            let name = Path::new(path).file_name().and_then(OsStr::to_str);
            Ok(name
                .ok_or(format!("not a plain name: {:?}", path))?
                .to_owned())
        };
        let data = format!(
            "lowerdir={},upperdir={}/{},workdir={}/{}{}",
            lower.join(":"),
            upper,
            name(&overlay.upper)?,
            upper,
            name(&overlay.work)?,
            if self.user_attributes {
                ",userxattr"
            } else {
                ""
            },
        );
        let target = self.target(&overlay.target, true)?;
        // The overlay works with the ids of who mounts it, and an id-mapped
        // layer knows no other than those of the box.
        let place = format!("/proc/self/fd/{}", target.as_raw_fd());
        let (uid, gid) = if overlay.id_map { self.owner } else { (0, 0) };
        let mounted = os::as_file_owner(uid, gid, || {
            mount::mount_new("overlay", OsStr::new(&place), mount::MS_NODEV, &data)
        });
        mounted.context(|| format!("overlay {:?}", overlay.target))
    }

    fn bind(&mut self, bind: &Bind) -> Outcome<()> {
        let attributes = TreeAttributes {
            read_only: bind.read_only,
            no_suid: bind.read_only,
            no_dev: true,
            id_map: self.mapping(bind.id_map),
        };
        // What is mounted below a bound folder comes along (and a plain user
        // may not reveal what such a mount covers), except where owners are
        // shifted: not every file system can do that.
        let tree = self
            .tree(&bind.source, attributes, !bind.id_map)
            .context(|| format!("bind {:?}", bind.source))?;
        let found = fs::metadata(&bind.source).context(|| format!("bind {:?}", bind.source))?;
        let target = self.target(&bind.target, found.is_dir())?;
        mount::attach(&tree, &target).context(|| format!("bind on {:?}", bind.target))
    }

    fn directories(&self, path: &OsStr) -> Outcome<()> {
        let what = || format!("directory {:?}", path);
        let mut so_far = OsString::from(".");
        let mut reached = mount::open_beneath(&self.stage, &so_far, true).context(what)?;
        for part in Path::new(path).components() {
            let name = part.as_os_str();
            let make = || mount::make_directory(&reached, name, 0o755);
            match os::as_file_owner(self.owner.0, self.owner.1, make) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(format!("{}: {}", what(), error))
                }
                _ => {}
            }
            so_far.push("/");
            so_far.push(name);
            reached = mount::open_beneath(&self.stage, &so_far, true).context(what)?;
        }
        Ok(())
    }
}

/// The ids on the machine that are 0 in the box.
fn box_root(options: &Options) -> (u32, u32) {
    let root_of = |ranges: &[IdRange]| {
        let zero = ranges.iter().find(|range| range.inside == 0);
        zero.map_or(0, |range| range.outside)
    };
    match options.namespace {
        Namespace::Supervisor => (0, 0),
        _ => (root_of(&options.uid_map), root_of(&options.gid_map)),
    }
}
