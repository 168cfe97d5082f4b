//! The compression function of SHA-256: for any processor, and with the SHA
//! extensions of x86.

/// Bytes of a block.
pub const BLOCK: usize = 64;

#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// Takes whole blocks into the state.
pub fn compress(state: &mut [u32; 8], blocks: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        // SAFETY: the processor has the instructions.
        return unsafe { x86::compress(state, blocks) };
    }
    portable(state, blocks);
}

fn portable(state: &mut [u32; 8], blocks: &[u8]) {
    for block in blocks.chunks_exact(BLOCK) {
        let mut w = [0u32; 64];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        }
        for t in 16..64 {
            let (a, b) = (w[t - 15], w[t - 2]);
            let small0 = a.rotate_right(7) ^ a.rotate_right(18) ^ a >> 3;
            let small1 = b.rotate_right(17) ^ b.rotate_right(19) ^ b >> 10;
            w[t] = small1
                .wrapping_add(w[t - 7])
                .wrapping_add(small0)
                .wrapping_add(w[t - 16]);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        for (&word, &constant) in w.iter().zip(&K) {
            let big1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = e & f ^ !e & g;
            let first = h
                .wrapping_add(big1)
                .wrapping_add(choice)
                .wrapping_add(constant)
                .wrapping_add(word);
            let big0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = a & b ^ a & c ^ b & c;
            let second = big0.wrapping_add(majority);
            (h, g, f, e) = (g, f, e, d.wrapping_add(first));
            (d, c, b, a) = (c, b, a, first.wrapping_add(second));
        }
        for (sum, add) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = sum.wrapping_add(add);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, K};
    use std::arch::x86_64::*;

    pub fn available() -> bool {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1")
    }

    /// SAFETY: the processor must have what `available` asks for.
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    pub unsafe fn compress(state: &mut [u32; 8], blocks: &[u8]) {
        // Words are big-endian in a block; the instructions want the state as ABEF and CDGH.
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let half = state.as_mut_ptr().cast::<__m128i>();
        let cdab = _mm_shuffle_epi32(_mm_loadu_si128(half), 0xb1);
        let efgh = _mm_shuffle_epi32(_mm_loadu_si128(half.add(1)), 0x1b);
        let mut abef = _mm_alignr_epi8(cdab, efgh, 8);
        let mut cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
        for block in blocks.chunks_exact(BLOCK) {
            let (abef_before, cdgh_before) = (abef, cdgh);
            let from = block.as_ptr().cast::<__m128i>();
            let mut w0 = _mm_shuffle_epi8(_mm_loadu_si128(from), swap);
            let mut w1 = _mm_shuffle_epi8(_mm_loadu_si128(from.add(1)), swap);
            let mut w2 = _mm_shuffle_epi8(_mm_loadu_si128(from.add(2)), swap);
            let mut w3 = _mm_shuffle_epi8(_mm_loadu_si128(from.add(3)), swap);
            // Four rounds with four words of the schedule.
            macro_rules! rounds {
                ($words:expr, $at:expr) => {
                    let constants = _mm_loadu_si128(K.as_ptr().add($at).cast::<__m128i>());
                    let sum = _mm_add_epi32($words, constants);
                    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
                    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
                };
            }
            // The four words that follow on sixteen.
            macro_rules! next {
                ($a:expr, $b:expr, $c:expr, $d:expr) => {
                    _mm_sha256msg2_epu32(
                        _mm_add_epi32(_mm_sha256msg1_epu32($a, $b), _mm_alignr_epi8($d, $c, 4)),
                        $d,
                    )
                };
            }
            rounds!(w0, 0);
            rounds!(w1, 4);
            rounds!(w2, 8);
            rounds!(w3, 12);
            for at in [16, 32, 48] {
                w0 = next!(w0, w1, w2, w3);
                rounds!(w0, at);
                w1 = next!(w1, w2, w3, w0);
                rounds!(w1, at + 4);
                w2 = next!(w2, w3, w0, w1);
                rounds!(w2, at + 8);
                w3 = next!(w3, w0, w1, w2);
                rounds!(w3, at + 12);
            }
            abef = _mm_add_epi32(abef, abef_before);
            cdgh = _mm_add_epi32(cdgh, cdgh_before);
        }
        let feba = _mm_shuffle_epi32(abef, 0x1b);
        let dchg = _mm_shuffle_epi32(cdgh, 0xb1);
        _mm_storeu_si128(half, _mm_blend_epi16(feba, dchg, 0xf0));
        _mm_storeu_si128(half.add(1), _mm_alignr_epi8(dchg, feba, 8));
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree_on_any_state_and_blocks() {
        if !x86::available() {
            eprintln!("skipped, the processor has no SHA instructions");
            return;
        }
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 32) as u32
        };
        for case in 0..500 {
            let before = [0; 8].map(|_: u32| next());
            let blocks: Vec<u8> = (0..BLOCK * (case % 7)).map(|_| next() as u8).collect();
            let (mut one, mut other) = (before, before);
            portable(&mut one, &blocks);
            // SAFETY: the instructions are there.
            unsafe { x86::compress(&mut other, &blocks) };
            assert_eq!(one, other, "case {}", case);
        }
    }
}
