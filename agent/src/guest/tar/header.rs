//! The 512 bytes of a ustar header: where its fields are, and their numbers.

use super::BLOCK;
use std::ops::Range;

pub const NAME: Range<usize> = 0..100;
pub const MODE: Range<usize> = 100..108;
pub const UID: Range<usize> = 108..116;
pub const GID: Range<usize> = 116..124;
pub const SIZE: Range<usize> = 124..136;
pub const MTIME: Range<usize> = 136..148;
pub const CHECKSUM: Range<usize> = 148..156;
pub const TYPE: usize = 156;
pub const LINK: Range<usize> = 157..257;
pub const MAGIC: Range<usize> = 257..265;
pub const USER: Range<usize> = 265..297;
pub const GROUP: Range<usize> = 297..329;
pub const PREFIX: Range<usize> = 345..500;

/// Magic and version of POSIX.
pub const USTAR: &[u8; 8] = b"ustar\x0000";

/// The sum over a header whose checksum field counts as spaces.
pub fn checksum(block: &[u8; BLOCK]) -> u32 {
    let bytes = block.iter().enumerate();
    let counted = bytes.map(|(at, &byte)| match CHECKSUM.contains(&at) {
        true => u32::from(b' '),
        false => u32::from(byte),
    });
    counted.sum()
}

/// A field up to its NUL.
pub fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// An octal number, or the base-256 of GNU. None when it is neither or too large.
pub fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(&first) if first & 0x80 != 0 => base_256(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let from = field.iter().position(|&byte| byte != b' ' && byte != 0);
    let rest = &field[from.unwrap_or(field.len())..];
    let end = rest.iter().position(|&byte| byte == b' ' || byte == 0);
    let (digits, tail) = rest.split_at(end.unwrap_or(rest.len()));
    if tail.iter().any(|&byte| byte != b' ' && byte != 0) {
        return None;
    }
    digits.iter().try_fold(0i64, |sum, &digit| {
        let value = digit.checked_sub(b'0').filter(|value| *value < 8)?;
        sum.checked_mul(8)?.checked_add(i64::from(value))
    })
}

/// Big-endian two's complement; the top bit is the mark and the next one the sign.
fn base_256(field: &[u8]) -> Option<i64> {
    let negative = field.first()? & 0x40 != 0;
    let fill = if negative { 0xff } else { 0 };
    let (head, tail) = field.split_at(field.len().checked_sub(8)?);
    let mut head = head.to_vec();
    match head.first_mut() {
        Some(first) => *first = (*first & 0x7f) | (fill & 0x80),
        // A field of eight bytes: the mark is within the number.
        None => {
            let first = (field.first()? & 0x7f) | (fill & 0x80);
            let rest = field.iter().skip(1);
            return Some(std::iter::once(&first).chain(rest).fold(0, join));
        }
    }
    let value = tail.iter().fold(0, join);
    (head.iter().all(|&byte| byte == fill) && (value < 0) == negative).then_some(value)
}

fn join(sum: i64, byte: &u8) -> i64 {
    (sum << 8) | i64::from(*byte)
}

/// Writes an octal number with a closing NUL; what does not fit becomes 0.
pub fn put_octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let fits = 3 * digits >= 64 || value >> (3 * digits) == 0;
    let text = format!("{:0width$o}", if fits { value } else { 0 }, width = digits);
    field[..digits].copy_from_slice(text.as_bytes());
}

/// Largest number that fits an octal field of `bytes`.
pub fn octal_limit(bytes: usize) -> u64 {
    (1 << (3 * (bytes - 1))) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_every_form() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"0000648\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"12 34\0\0\0", None),
            (b"\x80\0\0\0\0\0\0\x05", Some(5)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\0\0\0\0\x01\0\0\0", Some(1 << 24)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                Some(-1),
            ),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{:?}", field);
        }
        let mut field = [0u8; 8];
        put_octal(&mut field, 0o755);
        assert_eq!(&field, b"0000755\0");
        assert_eq!(octal_limit(8), 0o7_777_777);
    }
}
