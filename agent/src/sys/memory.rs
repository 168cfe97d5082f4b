//! Searching bytes as fast as the C library can.

use super::abi;
use std::os::raw::c_void;

/// Where `needle` is in `bytes` first, at `from` or later.
pub fn find(bytes: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    // SAFETY: both slices live during the call.
    let found = unsafe {
        abi::memmem(
            rest.as_ptr().cast(),
            rest.len(),
            needle.as_ptr().cast(),
            needle.len(),
        )
    };
    place(bytes, found)
}

/// A pointer into `bytes` as a place in it.
fn place(bytes: &[u8], found: *const c_void) -> Option<usize> {
    match found.is_null() {
        true => None,
        false => Some(found as usize - bytes.as_ptr() as usize),
    }
}

/// Where a byte is first, at `from` or later.
pub fn find_byte(bytes: &[u8], byte: u8, from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    // SAFETY: the slice lives during the call.
    let found = unsafe { abi::memchr(rest.as_ptr().cast(), i32::from(byte), rest.len()) };
    place(bytes, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_the_start() {
        assert_eq!(find(b"abcabc", b"bc", 0), Some(1));
        assert_eq!(find(b"abcabc", b"bc", 2), Some(4));
        assert_eq!(find(b"abcabc", b"cb", 0), None);
        assert_eq!(find(b"abc", b"", 3), Some(3));
        assert_eq!(find(b"abc", b"a", 4), None);
        assert_eq!(find_byte(b"a\nb\n", b'\n', 2), Some(3));
    }
}
