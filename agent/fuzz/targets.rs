//! The parsers one by one, each with a property beyond "does not panic".

use crate::fuzz;
use crate::random::Random;
use caisson_agent::guest::frame::{decode_header, encode_header, FrameReader, Kind, HEADER};
use caisson_agent::guest::glob::Glob;
use caisson_agent::guest::msgpack::{decode, Value};
use caisson_agent::guest::pack::Pack;
use caisson_agent::guest::params::Params;
use caisson_agent::guest::process_spec::{OnFull, ProcessSpec};
use caisson_agent::guest::user::UserDatabase;

/// A random value, at most `depth` deep.
fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Nil,
        1 => Value::Bool(random.chance(2)),
        2 => Value::Int(random.next() as i64 >> random.below(64)),
        3 => Value::Uint(random.next() | 1 << 63),
        4 => Value::Str(random.text(&["a", "é", "\u{1f600}", "/", "\0"], 40)),
        5 => Value::Bin(random.bytes(40)),
        6 => Value::Array(
            (0..random.below(20))
                .map(|_| value(random, depth - 1))
                .collect(),
        ),
        _ => {
            let keys = random.below(20);
            let entry = |n: usize| (format!("k{}", n), value(random, depth - 1));
            Value::Map((0..keys).map(entry).collect())
        }
    }
}

/// Encodes by hand what `Pack` has no method for.
fn encode(value: &Value, bytes: &mut Vec<u8>) {
    let packed = |fill: &dyn Fn(Pack) -> Pack| fill(Pack::map(0)).done().split_off(1);
    match value {
        Value::Nil => bytes.push(0xc0),
        Value::Bool(flag) => bytes.push(if *flag { 0xc3 } else { 0xc2 }),
        Value::Int(number) => bytes.extend(packed(&|pack| pack.item_int(*number))),
        Value::Uint(number) => bytes.extend(packed(&|pack| pack.item_uint(*number))),
        Value::Float(number) => {
            bytes.push(0xcb);
            bytes.extend(number.to_bits().to_be_bytes());
        }
        Value::Str(text) => bytes.extend(packed(&|pack| pack.item_text(text))),
        Value::Bin(bin) => {
            bytes.extend([0xc4, bin.len() as u8]);
            bytes.extend(bin);
        }
        Value::Array(items) => {
            bytes.extend(packed(&|pack| pack.array(items.len())));
            items.iter().for_each(|item| encode(item, bytes));
        }
        Value::Map(entries) => {
            bytes.extend(packed(&|pack| pack.nested(entries.len())));
            for (key, value) in entries {
                bytes.extend(packed(&|pack| pack.item_text(key)));
                encode(value, bytes);
            }
        }
    }
}

#[test]
fn message_pack() {
    fuzz("message_pack", 1, |random| {
        let value = value(random, 4);
        let mut bytes = Vec::new();
        encode(&value, &mut bytes);
        assert_eq!(decode(&bytes).as_ref(), Ok(&value));
        random.mutate(&mut bytes);
        if let Ok(other) = decode(&bytes) {
            // Whatever is accepted has one meaning: encoding it loses nothing.
            let mut again = Vec::new();
            encode(&other, &mut again);
            let same = decode(&again);
            let has_nan = format!("{:?}", other).contains("NaN");
            assert!(has_nan || same.as_ref() == Ok(&other));
        }
        let _any_result = decode(&random.bytes(300));
    });
}

#[test]
fn frames() {
    fuzz("frames", 1, |random| {
        let mut bytes = Vec::new();
        for _ in 0..random.below(6) {
            let payload = random.bytes(600);
            let kind = [Kind::Open, Kind::Data, Kind::Event, Kind::Reply][random.below(4)];
            bytes.extend(encode_header(
                kind,
                0,
                1 + random.below(9) as u32,
                payload.len(),
            ));
            bytes.extend(payload);
        }
        if random.chance(2) {
            random.mutate(&mut bytes);
        }
        // Cut anywhere, the frames are the same as read in one piece.
        let read = |pieces: Vec<&[u8]>| {
            let mut reader = FrameReader::default();
            let mut frames = Vec::new();
            for piece in pieces {
                reader.spare(piece.len()).extend_from_slice(piece);
                loop {
                    match reader.next_frame() {
                        Ok(Some((header, payload))) => frames.push((header, payload.to_vec())),
                        Ok(None) => break,
                        Err(violation) => return (frames, Some(violation)),
                    }
                }
            }
            (frames, None)
        };
        let whole = read(vec![&bytes]);
        let size = 1 + random.below(80);
        assert!(whole == read(bytes.chunks(size).collect()));
        let mut header = [0u8; HEADER];
        random
            .bytes(HEADER)
            .iter()
            .zip(&mut header)
            .for_each(|(from, to)| *to = *from);
        if let Ok(header) = decode_header(&header) {
            assert!(header.length <= 1 << 20);
        }
    });
}

#[test]
fn process_parameters() {
    const KEYS: [&str; 9] = [
        "argv",
        "command",
        "env",
        "cwd",
        "user",
        "pty",
        "stdin",
        "timeout_ms",
        "on_full",
    ];
    fuzz("process_parameters", 1, |random| {
        let count = random.below(5);
        let entry = |_| (random.pick(&KEYS).to_owned(), value(random, 2));
        let map = Value::Map((0..count).map(entry).collect());
        if let Ok(mut params) = Params::new(map) {
            if let Ok(spec) = ProcessSpec::parse(&mut params, OnFull::Drop) {
                assert!(!spec.argv.is_empty());
            }
        }
    });
}

#[test]
fn globs() {
    const ALPHABET: [&str; 14] = [
        "*", "**", "/", "?", "[", "]", "!", "-", "a", "b", ".", "\\", "é", "**/",
    ];
    fuzz("globs", 1, |random| {
        let pattern = random.text(&ALPHABET, 24);
        if let Ok(mut glob) = Glob::parse(&pattern) {
            if random.chance(2) {
                glob.take_literal_prefix();
            }
            let mut states = glob.start();
            for _ in 0..random.below(8) {
                let name = random.text(&["a", "b", ".", "é", "[", "-"], 12);
                states = glob.needs_more(glob.advance(states, &name).all());
                let _either = glob.accepts(states);
            }
        }
        // A pattern that is the escaped name matches exactly that name.
        let name = random.text(&["a", "*", "[", "?", "é", "]"], 10);
        if !name.is_empty() {
            let escaped: String = name.chars().flat_map(|letter| ['\\', letter]).collect();
            let glob = Glob::parse(&escaped).expect("a plain name");
            assert!(glob.accepts(glob.advance(glob.start(), &name).all()));
            let longer = format!("{}x", name);
            assert!(!glob.accepts(glob.advance(glob.start(), &longer).all()));
        }
    });
}

#[test]
fn users() {
    const ALPHABET: [&str; 12] = [
        ":",
        "\n",
        "a",
        "root",
        "0",
        "1000",
        "4294967295",
        "-1",
        ",",
        "x",
        "\0",
        "/home",
    ];
    fuzz("users", 1, |random| {
        let database = UserDatabase::parse(random.text(&ALPHABET, 60), random.text(&ALPHABET, 60));
        let asked = random.text(&ALPHABET, 3);
        if let Ok(user) = database.resolve(&asked) {
            assert!(user.uid != u32::MAX && user.gid != u32::MAX);
            assert!(!user.home.contains('\0') && !user.home.is_empty());
        }
        let names = database.names();
        assert!(!names.user(random.next() as u32).is_empty());
    });
}
