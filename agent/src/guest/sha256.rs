//! SHA-256 (FIPS 180-4), by the processor's own instructions where it has them.

use super::sha256_blocks::{compress, BLOCK};

const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A digest under way. Cloning it keeps what was hashed so far.
#[derive(Clone)]
pub struct Sha256 {
    state: [u32; 8],
    /// The bytes of a block that is not full yet: the first `length % BLOCK`.
    rest: [u8; BLOCK],
    /// Bytes hashed so far.
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256 {
            state: START,
            rest: [0; BLOCK],
            length: 0,
        }
    }
}

impl Sha256 {
    pub fn update(&mut self, mut bytes: &[u8]) {
        let held = (self.length % BLOCK as u64) as usize;
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if held > 0 {
            let fits = bytes.len().min(BLOCK - held);
            let (head, tail) = bytes.split_at(fits);
            self.rest[held..held + fits].copy_from_slice(head);
            bytes = tail;
            if held + fits < BLOCK {
                return;
            }
            compress(&mut self.state, &self.rest);
        }
        let (blocks, tail) = bytes.split_at(bytes.len() - bytes.len() % BLOCK);
        compress(&mut self.state, blocks);
        self.rest[..tail.len()].copy_from_slice(tail);
    }

    /// The digest of all that was hashed.
    pub fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8);
        let held = (self.length % BLOCK as u64) as usize;
        let mut padding = [0u8; BLOCK + 8];
        padding[0] = 0x80;
        let zeros = if held < 56 { 56 - held } else { 120 - held };
        self.update(&padding[..zeros]);
        self.update(&bits.to_be_bytes());
        let mut digest = [0u8; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// The digest as 64 lower-case hex digits.
    pub fn hex(self) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in self.finish() {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{:02x}", byte);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        let mut hash = Sha256::default();
        hash.update(bytes);
        hash.hex()
    }

    #[test]
    fn the_standard_s_examples() {
        for (text, digest) in [
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
            ),
        ] {
            assert_eq!(hex(text.as_bytes()), digest, "{}", text);
        }
        let million = vec![b'a'; 1_000_000];
        assert_eq!(
            hex(&million),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
    }

    #[test]
    fn pieces_of_any_size_give_the_same() {
        let bytes: Vec<u8> = (0..1000u32).map(|at| ((at * 31) >> 3) as u8).collect();
        for length in 0..200 {
            let whole = hex(&bytes[..length]);
            for size in [1, 7, 63, 64, 65, 127] {
                let mut hash = Sha256::default();
                for piece in bytes[..length].chunks(size) {
                    hash.update(piece);
                }
                assert_eq!(hash.hex(), whole, "{} in {}s", length, size);
            }
        }
    }
}
