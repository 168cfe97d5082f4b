//! Tar streams: POSIX ustar with pax headers, written and read in pieces.

pub mod header;
pub mod pax;
pub mod reader;
pub mod writer;

/// Everything in a tar stream is padded to this, in bytes.
pub const BLOCK: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    /// Another name of a file that came before.
    HardLink,
    Symlink,
    Fifo,
    Directory,
}

/// One member of an archive, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// As it stands in the archive; hostile when it was read.
    pub path: Vec<u8>,
    /// Where a link leads.
    pub link: Vec<u8>,
    /// Bytes of content; 0 for everything but files.
    pub size: u64,
    /// The low 12 bits.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Names of owner and group, written only.
    pub user: String,
    pub group: String,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, with their namespace.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Bytes that follow `size` bytes of content up to the next block.
pub fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}
