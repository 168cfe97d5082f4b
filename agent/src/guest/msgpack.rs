//! The MessagePack subset of the link: decoding into values, bounded.

/// A decoded value. `Uint` holds only what does not fit `Int`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(String),
    Bin(Vec<u8>),
    Array(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// Deepest nesting of arrays and maps.
pub const MAX_DEPTH: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError(pub &'static str);

/// Decodes exactly one value that fills `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut decoder = Decoder { rest: bytes };
    let value = decoder.value(0)?;
    if decoder.rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError("trailing bytes"))
    }
}

struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.rest.len() {
            return Err(DecodeError("truncated"));
        }
        let (head, tail) = self.rest.split_at(length);
        self.rest = tail;
        Ok(head)
    }

    /// A big-endian unsigned integer of `size` bytes (at most 8).
    fn unsigned(&mut self, size: usize) -> Result<u64, DecodeError> {
        Ok(self
            .take(size)?
            .iter()
            .fold(0, |sum, &byte| (sum << 8) | u64::from(byte)))
    }

    fn length(&mut self, size: usize) -> Result<usize, DecodeError> {
        usize::try_from(self.unsigned(size)?).map_err(|_| DecodeError("too long"))
    }

    fn text(&mut self, length: usize) -> Result<String, DecodeError> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(DecodeError("a string is not UTF-8")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let tag = self.unsigned(1)? as u8;
        Ok(match tag {
            0x00..=0x7f => Value::Int(i64::from(tag)),
            0xe0..=0xff => Value::Int(i64::from(tag as i8)),
            0x80..=0x8f => self.map(usize::from(tag & 0x0f), depth)?,
            0x90..=0x9f => self.array(usize::from(tag & 0x0f), depth)?,
            0xa0..=0xbf => Value::Str(self.text(usize::from(tag & 0x1f))?),
            0xc0 => Value::Nil,
            0xc2 => Value::Bool(false),
            0xc3 => Value::Bool(true),
            0xc4..=0xc6 => {
                let length = self.length(1 << (tag - 0xc4))?;
                Value::Bin(self.take(length)?.to_vec())
            }
            0xcb => Value::Float(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => {
                let number = self.unsigned(1 << (tag - 0xcc))?;
                i64::try_from(number).map_or(Value::Uint(number), Value::Int)
            }
            0xd0 => Value::Int(i64::from(self.unsigned(1)? as u8 as i8)),
            0xd1 => Value::Int(i64::from(self.unsigned(2)? as u16 as i16)),
            0xd2 => Value::Int(i64::from(self.unsigned(4)? as u32 as i32)),
            0xd3 => Value::Int(self.unsigned(8)? as i64),
            0xd9..=0xdb => {
                let length = self.length(1 << (tag - 0xd9))?;
                Value::Str(self.text(length)?)
            }
            0xdc | 0xdd => {
                let length = self.length(2 << (tag - 0xdc))?;
                self.array(length, depth)?
            }
            0xde | 0xdf => {
                let length = self.length(2 << (tag - 0xde))?;
                self.map(length, depth)?
            }
            _ => return Err(DecodeError("type not in the subset")),
        })
    }

    /// Checks depth and that `items` of at least `size` bytes can be there at all,
    /// so that a claimed length never reserves more than the payload justifies.
    fn nest(&self, items: usize, size: usize, depth: usize) -> Result<(), DecodeError> {
        if depth >= MAX_DEPTH {
            return Err(DecodeError("nested too deeply"));
        }
        if items > self.rest.len() / size {
            return Err(DecodeError("truncated"));
        }
        Ok(())
    }

    fn array(&mut self, length: usize, depth: usize) -> Result<Value, DecodeError> {
        self.nest(length, 1, depth)?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(self.value(depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value, DecodeError> {
        self.nest(length, 2, depth)?;
        let mut entries: Vec<(String, Value)> = Vec::new();
        for _ in 0..length {
            let key = match self.value(MAX_DEPTH)? {
                Value::Str(key) => key,
                _ => return Err(DecodeError("a key is not a string")),
            };
            let value = self.value(depth + 1)?;
            entries.push((key, value));
        }
        let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError("duplicate key"));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::Pack;
    use super::*;

    #[test]
    fn what_is_packed_is_decoded() {
        let bytes = Pack::map(6)
            .text("name", "grüße")
            .uint("big", u64::MAX)
            .int("small", -70_000)
            .flag("yes", true)
            .nil("none")
            .key("list")
            .array(2)
            .item_text("a")
            .item_uint(300)
            .done();
        let expected = Value::Map(vec![
            ("name".into(), Value::Str("grüße".into())),
            ("big".into(), Value::Uint(u64::MAX)),
            ("small".into(), Value::Int(-70_000)),
            ("yes".into(), Value::Bool(true)),
            ("none".into(), Value::Nil),
            (
                "list".into(),
                Value::Array(vec![Value::Str("a".into()), Value::Int(300)]),
            ),
        ]);
        assert_eq!(decode(&bytes), Ok(expected));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn the_subset_is_closed() {
        let bad: [&[u8]; 10] = [
            &[],
            &[0xc1],
            &[0xca, 0, 0, 0, 0],
            &[0xd4, 1, 1],
            &[0xc7, 0, 1],
            &[0x00, 0x00],
            &[0xa1, 0xff],
            &[0x81, 0x01, 0x01],
            &[0x82, 0xa1, b'a', 1, 0xa1, b'a', 2],
            &[0xdd, 0xff, 0xff, 0xff, 0xff, 0],
        ];
        for bytes in bad {
            assert!(decode(bytes).is_err(), "{:?}", bytes);
        }
        let mut deep = vec![0x91; MAX_DEPTH];
        deep.push(0xc0);
        assert!(decode(&deep).is_ok());
        deep.insert(0, 0x91);
        assert!(decode(&deep).is_err());
    }
}
