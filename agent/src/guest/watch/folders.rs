//! The folders of one watch: which is where. Kept as a tree of names, so that
//! moving a folder keeps the paths of all below it right.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

struct Folder {
    /// None for the root.
    parent: Option<i32>,
    name: OsString,
    children: HashMap<OsString, i32>,
}

/// By the kernel's number for the watch of a folder.
#[derive(Default)]
pub struct Folders {
    by_watch: HashMap<i32, Folder>,
    root: Option<i32>,
}

/// What placing a folder has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    New,
    /// It was known, here or elsewhere, and so is what is below it.
    Known,
    /// It would lie within itself: a bind mount of a folder above.
    Refused,
}

impl Folders {
    pub fn len(&self) -> usize {
        self.by_watch.len()
    }

    pub fn is_root(&self, watch: i32) -> bool {
        self.root == Some(watch)
    }

    pub fn place_root(&mut self, watch: i32) {
        self.root = Some(watch);
        let root = Folder {
            parent: None,
            name: OsString::new(),
            children: HashMap::new(),
        };
        self.by_watch.insert(watch, root);
    }

    /// Puts a folder where it is now; what it had below comes along.
    pub fn place(&mut self, watch: i32, parent: i32, name: OsString) -> Placed {
        let mut above = Some(parent);
        while let Some(folder) = above {
            if folder == watch {
                return Placed::Refused;
            }
            above = self.by_watch.get(&folder).and_then(|folder| folder.parent);
        }
        let known = self.by_watch.contains_key(&watch);
        self.unlink(watch);
        let folder = self.by_watch.entry(watch).or_insert_with(|| Folder {
            parent: None,
            name: OsString::new(),
            children: HashMap::new(),
        });
        folder.parent = Some(parent);
        folder.name = name.clone();
        if let Some(parent) = self.by_watch.get_mut(&parent) {
            parent.children.insert(name, watch);
        }
        match known {
            true => Placed::Known,
            false => Placed::New,
        }
    }

    /// Takes a folder out of the one that holds it.
    fn unlink(&mut self, watch: i32) {
        let place = self.by_watch.get(&watch);
        let place = place.and_then(|folder| Some((folder.parent?, folder.name.clone())));
        if let Some((parent, name)) = place {
            if let Some(parent) = self.by_watch.get_mut(&parent) {
                // Another one may have taken the name.
                if parent.children.get(&name) == Some(&watch) {
                    parent.children.remove(&name);
                }
            }
        }
    }

    pub fn child(&self, parent: i32, name: &OsString) -> Option<i32> {
        self.by_watch.get(&parent)?.children.get(name).copied()
    }

    /// The names that lead from the root to a folder. None when it is unknown.
    pub fn names(&self, watch: i32) -> Option<Vec<OsString>> {
        let mut names = Vec::new();
        let mut here = self.by_watch.get(&watch)?;
        while let Some(parent) = here.parent {
            names.push(here.name.clone());
            here = self.by_watch.get(&parent)?;
        }
        names.reverse();
        Some(names)
    }

    pub fn path(&self, root: &Path, watch: i32) -> Option<PathBuf> {
        let mut path = root.to_owned();
        path.extend(self.names(watch)?);
        Some(path)
    }

    /// Forgets a folder and all below it; their watches.
    pub fn forget(&mut self, watch: i32) -> Vec<i32> {
        self.unlink(watch);
        let mut forgotten = Vec::new();
        let mut queue = vec![watch];
        while let Some(watch) = queue.pop() {
            if let Some(folder) = self.by_watch.remove(&watch) {
                forgotten.push(watch);
                queue.extend(folder.children.values());
            }
        }
        forgotten
    }

    /// Forgets everything; the watches there were.
    pub fn clear(&mut self) -> Vec<i32> {
        self.root = None;
        self.by_watch.drain().map(|(watch, _)| watch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Folders {
        let mut folders = Folders::default();
        folders.place_root(1);
        for (watch, parent, name) in [(2, 1, "a"), (3, 2, "b"), (4, 3, "c"), (5, 1, "d")] {
            assert_eq!(folders.place(watch, parent, name.into()), Placed::New);
        }
        folders
    }

    fn path(folders: &Folders, watch: i32) -> Option<String> {
        let path = folders.path(Path::new("/r"), watch)?;
        Some(path.to_string_lossy().into_owned())
    }

    #[test]
    fn moves_take_everything_below_along() {
        let mut folders = tree();
        assert_eq!(path(&folders, 4).as_deref(), Some("/r/a/b/c"));
        assert_eq!(folders.place(3, 5, "x".into()), Placed::Known);
        assert_eq!(path(&folders, 4).as_deref(), Some("/r/d/x/c"));
        assert_eq!(folders.child(2, &"b".into()), None);
        assert_eq!(folders.place(5, 4, "loop".into()), Placed::Refused);
        assert_eq!(path(&folders, 4).as_deref(), Some("/r/d/x/c"));
    }

    #[test]
    fn forgetting_leaves_the_rest() {
        let mut folders = tree();
        let mut forgotten = folders.forget(2);
        forgotten.sort_unstable();
        assert_eq!((forgotten, folders.len()), (vec![2, 3, 4], 2));
        assert_eq!(path(&folders, 4), None);
        // A name that was taken by another folder stays with it.
        folders.place(6, 1, "d".into());
        folders.forget(5);
        assert_eq!(folders.child(1, &"d".into()), Some(6));
    }
}
