//! The reader of tar streams: what is written is read, cut anywhere; what is
//! mutated is refused or has one meaning, with bounded memory.

use crate::fuzz;
use crate::random::Random;
use caisson_agent::guest::files::archive_name::components;
use caisson_agent::guest::tar::reader::{Event, TarReader};
use caisson_agent::guest::tar::writer::{encode, END};
use caisson_agent::guest::tar::{padding, Entry, Kind};

fn name(random: &mut Random) -> Vec<u8> {
    const PARTS: [&str; 9] = [
        "a",
        "b/",
        "../",
        "/",
        ".",
        "\u{e9}",
        " ",
        "\n",
        "long-long-",
    ];
    let mut name = random.text(&PARTS, 40).into_bytes();
    if random.chance(4) {
        name.extend(random.bytes(200));
    }
    name.retain(|&byte| byte != 0);
    // A name that ends in a slash is a directory's, whatever its type says.
    while name.last() == Some(&b'/') {
        name.pop();
    }
    name
}

fn entry(random: &mut Random) -> Entry {
    let kinds = [
        Kind::File,
        Kind::HardLink,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Directory,
    ];
    let kind = kinds[random.below(kinds.len())];
    let mut mtime = (random.next() as i64 >> random.below(64), 0);
    if random.chance(2) {
        mtime.1 = random.below(1_000_000_000) as u32;
    }
    let attribute = |random: &mut Random| (b"user.x".to_vec(), random.bytes(30));
    Entry {
        kind,
        path: name(random),
        link: match kind {
            Kind::HardLink | Kind::Symlink => name(random),
            _ => Vec::new(),
        },
        size: 0,
        mode: random.below(0o10000) as u32,
        uid: random.next() >> (1 + random.below(63)),
        gid: random.below(1 << 24) as u64,
        user: String::new(),
        group: String::new(),
        mtime,
        xattrs: (0..random.below(2)).map(|_| attribute(random)).collect(),
    }
}

type Member = (Entry, Vec<u8>);

/// Reads an archive given in pieces; members whose end was seen, and the error.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Member>, Option<String>) {
    let mut reader = TarReader::default();
    let mut members: Vec<Member> = Vec::new();
    let mut open: Option<Member> = None;
    for mut piece in pieces {
        loop {
            match reader.next_event(&mut piece) {
                Ok(None) => break,
                Ok(Some(Event::Entry(entry))) => {
                    assert!(open.is_none());
                    open = Some((*entry, Vec::new()));
                }
                Ok(Some(Event::Data(bytes))) => {
                    assert!(!bytes.is_empty());
                    open.as_mut().expect("an entry").1.extend(bytes);
                }
                Ok(Some(Event::EntryEnd)) => {
                    let member = open.take().expect("an entry");
                    assert_eq!(member.0.size, member.1.len() as u64);
                    members.push(member);
                }
                Err(error) => return (members, Some(error)),
            }
        }
        assert!(piece.is_empty());
    }
    let end = reader.finish().err();
    (members, end)
}

#[test]
fn archives() {
    fuzz("archives", 1, |random| {
        let mut bytes = Vec::new();
        let mut members = Vec::new();
        for _ in 0..random.below(5) {
            let mut entry = entry(random);
            let content = match entry.kind {
                Kind::File => random.bytes(1500),
                _ => Vec::new(),
            };
            entry.size = content.len() as u64;
            bytes.extend(encode(&entry));
            bytes.extend(&content);
            bytes.resize(bytes.len() + padding(entry.size), 0);
            if entry.kind == Kind::Directory {
                entry.path.push(b'/');
            }
            members.push((entry, content));
        }
        bytes.extend(END);
        let size = 1 + random.below(700);
        let (found, error) = read(bytes.chunks(size));
        assert_eq!((&found, error), (&members, None));
        random.mutate(&mut bytes);
        let whole = read(std::iter::once(&bytes[..]));
        assert!(
            whole == read(bytes.chunks(size)),
            "cutting changes the meaning"
        );
        for (entry, _) in whole.0 {
            if let Ok(names) = components(&entry.path) {
                let bad = |name: &&[u8]| name.is_empty() || *name == b".." || name.contains(&b'/');
                assert!(!names.iter().any(bad));
            }
        }
        let _any_result = read(random.bytes(3000).chunks(size));
    });
}
