//! Extended headers: records `LENGTH KEY=VALUE\n`.

/// Where the attributes of an entry are kept, by all that write them.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// Most attributes of one entry.
const MAX_XATTRS: usize = 1024;
/// Most bytes of them, in however many headers before it.
const MAX_XATTR_BYTES: usize = 1_048_576;

/// Adds a record. Its length counts its own digits.
pub fn put(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + digits(length) > length {
        length += 1;
    }
    records.extend_from_slice(format!("{} ", length).as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

pub fn put_xattr(records: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put(records, &[XATTR, name].concat(), value);
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// What extended headers say; None where they say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pax {
    /// Takes records in; later ones count. The error says what is wrong.
    pub fn read(&mut self, mut records: &[u8]) -> Result<(), String> {
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or("a malformed extended header")?;
            self.take(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let wrong = || {
            format!(
                "a bad {} in an extended header",
                String::from_utf8_lossy(key)
            )
        };
        // An empty value means that the plain header counts.
        let bytes = (!value.is_empty()).then(|| value.to_vec());
        let number = |value: &[u8]| -> Result<Option<u64>, String> {
            let text = std::str::from_utf8(value).map_err(|_| wrong())?;
            let number = text
                .parse()
                .ok()
                .filter(|number| *number <= i64::MAX as u64);
            match text {
                "" => Ok(None),
                _ => number.map(Some).ok_or_else(wrong),
            }
        };
        match key {
            b"path" => self.path = bytes,
            b"linkpath" => self.link = bytes,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" => {
                self.mtime = match value {
                    b"" => None,
                    _ => Some(time(value).ok_or_else(wrong)?),
                }
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err("a sparse file; pack it without --sparse".into());
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    if self.xattrs.len() >= MAX_XATTRS {
                        return Err(format!("more than {} attributes of one entry", MAX_XATTRS));
                    }
                    self.xattrs.retain(|(other, _)| other != name);
                    let held = self.xattrs.iter();
                    let held = held.map(|(name, value)| name.len() + value.len());
                    if held.sum::<usize>() + name.len() + value.len() > MAX_XATTR_BYTES {
                        return Err(format!(
                            "more than {} bytes of attributes of one entry",
                            MAX_XATTR_BYTES
                        ));
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Splits the first record off: key, value, and what follows.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|&byte| byte == b' ')?;
    let digits = std::str::from_utf8(&records[..space]).ok()?;
    let length: usize = digits.parse().ok()?;
    if length <= space + 1 || length > records.len() {
        return None;
    }
    let (whole, rest) = records.split_at(length);
    let (&last, body) = whole[space + 1..].split_last()?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    (last == b'\n' && equals > 0).then(|| (&body[..equals], &body[equals + 1..], rest))
}

/// Seconds with a fraction, such as `1700000000.25` or `-1.5`.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = whole.parse().ok().filter(|_| all_digits)?;
    let nanos = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    if whole.starts_with('-') && nanos > 0 {
        // Nanoseconds count upwards from the second before.
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

/// The decimal form of a time; the opposite of `time`.
pub fn time_text((seconds, nanos): (i64, u32)) -> String {
    match (seconds < 0, nanos) {
        (_, 0) => seconds.to_string(),
        (false, _) => format!("{}.{:09}", seconds, nanos),
        (true, _) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        for length in [0, 1, 85, 86, 87, 88, 89, 90, 980, 986, 987, 988, 989, 990] {
            let mut records = Vec::new();
            put(&mut records, b"path", &vec![b'x'; length]);
            let space = records
                .iter()
                .position(|&byte| byte == b' ')
                .expect("space");
            let told = std::str::from_utf8(&records[..space]).expect("digits");
            assert_eq!(told.parse(), Ok(records.len()));
        }
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        for mtime in [
            (0, 0),
            (5, 1),
            (-1, 0),
            (-1, 999_999_999),
            (-7, 250_000_000),
            (1 << 40, 5),
        ] {
            assert_eq!(
                time(time_text(mtime).as_bytes()),
                Some(mtime),
                "{:?}",
                mtime
            );
        }
        assert_eq!(time(b"1.25"), Some((1, 250_000_000)));
        assert_eq!(time(b"1.12345678999"), Some((1, 123_456_789)));
        for bad in [&b""[..], b"x", b"1.x", b"1.2.3", b"99999999999999999999"] {
            assert_eq!(time(bad), None);
        }
    }

    #[test]
    fn attributes_are_bounded_over_all_headers() {
        let mut pax = Pax::default();
        let mut header = |number: usize, length: usize| {
            let mut records = Vec::new();
            put_xattr(
                &mut records,
                number.to_string().as_bytes(),
                &vec![0; length],
            );
            pax.read(&records)
        };
        assert_eq!(header(0, 500_000), Ok(()));
        assert_eq!(header(0, 500_001), Ok(())); // in place of the first
        assert_eq!(header(1, 500_000), Ok(()));
        assert!(header(2, 100_000).is_err());
    }

    #[test]
    fn hostile_records_are_refused() {
        for bad in [
            &b"5 a=b"[..],
            b"9 a=b\n",
            b"x",
            b"6 ab\n\n",
            b"0 a=b\n",
            b"-6 a=b\n",
            b"5 =b\n",
            b"99999999999999999999999 a=b\n",
            b"12 size=-12\n",
            b"27 size=9223372036854775808\n",
            b"22 GNU.sparse.major=1\n",
        ] {
            let text = String::from_utf8_lossy(bad);
            assert!(Pax::default().read(bad).is_err(), "{}", text);
        }
    }
}
