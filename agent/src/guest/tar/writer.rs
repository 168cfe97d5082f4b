//! Headers of a tar stream, with an extended one before where ustar is too small.

use super::header::{self, octal_limit, put_octal};
use super::{padding, pax, Entry, Kind, BLOCK};

/// What ends a stream.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header of an entry; its content and padding follow.
pub fn encode(entry: &Entry) -> Vec<u8> {
    let mut path = entry.path.clone();
    if entry.kind == Kind::Directory {
        path.push(b'/');
    }
    let mut records = Vec::new();
    let texts = [
        (&b"path"[..], &path, header::NAME.len()),
        (b"linkpath", &entry.link, header::LINK.len()),
    ];
    let extended: Vec<_> = texts
        .iter()
        .filter(|(_, text, most)| needs_pax(text, *most))
        .collect();
    if extended
        .iter()
        .any(|(_, text, _)| std::str::from_utf8(text).is_err())
    {
        pax::put(&mut records, b"hdrcharset", b"BINARY");
    }
    for (key, text, _) in extended {
        pax::put(&mut records, key, text);
    }
    let numbers = [
        (&b"size"[..], entry.size, header::SIZE.len()),
        (b"uid", entry.uid, header::UID.len()),
        (b"gid", entry.gid, header::GID.len()),
    ];
    for (key, number, bytes) in numbers {
        if number > octal_limit(bytes) {
            pax::put(&mut records, key, number.to_string().as_bytes());
        }
    }
    let (seconds, nanos) = entry.mtime;
    let plain_time = u64::try_from(seconds).ok();
    let plain_time = plain_time.filter(|&time| time <= octal_limit(header::MTIME.len()));
    if nanos != 0 || plain_time.is_none() {
        pax::put(
            &mut records,
            b"mtime",
            pax::time_text(entry.mtime).as_bytes(),
        );
    }
    for (name, value) in &entry.xattrs {
        pax::put_xattr(&mut records, name, value);
    }

    let mut bytes = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let mut block = [0u8; BLOCK];
        let name = path
            .rsplit(|&byte| byte == b'/')
            .find(|name| !name.is_empty());
        put_text(
            &mut block[header::NAME],
            &[b"PaxHeaders/", name.unwrap_or(b"")].concat(),
        );
        put_octal(&mut block[header::MODE], 0o644);
        put_octal(&mut block[header::SIZE], records.len() as u64);
        put_octal(&mut block[header::MTIME], plain_time.unwrap_or(0));
        seal(&mut block, b'x', &mut bytes);
        bytes.extend_from_slice(&records);
        bytes.resize(bytes.len() + padding(records.len() as u64), 0);
    }
    let mut block = [0u8; BLOCK];
    put_text(&mut block[header::NAME], &path);
    put_text(&mut block[header::LINK], &entry.link);
    put_octal(&mut block[header::MODE], u64::from(entry.mode));
    put_octal(&mut block[header::SIZE], entry.size);
    put_octal(&mut block[header::MTIME], plain_time.unwrap_or(0));
    // The last byte of a name stays NUL.
    put_text(&mut block[header::USER][..31], entry.user.as_bytes());
    put_text(&mut block[header::GROUP][..31], entry.group.as_bytes());
    put_octal(&mut block[header::UID], entry.uid);
    put_octal(&mut block[header::GID], entry.gid);
    let kind = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    seal(&mut block, kind, &mut bytes);
    bytes
}

/// Bytes that are no UTF-8 have no name in pax; where they fit, they stand as they are.
fn needs_pax(text: &[u8], most: usize) -> bool {
    text.len() > most || (!text.is_ascii() && std::str::from_utf8(text).is_ok())
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let fits = text.len().min(field.len());
    field[..fits].copy_from_slice(&text[..fits]);
}

fn seal(block: &mut [u8; BLOCK], kind: u8, bytes: &mut Vec<u8>) {
    block[header::TYPE] = kind;
    block[header::MAGIC].copy_from_slice(header::USTAR);
    let sum = header::checksum(block);
    put_octal(&mut block[header::CHECKSUM][..7], u64::from(sum));
    block[header::CHECKSUM.end - 1] = b' ';
    bytes.extend_from_slice(block);
}
