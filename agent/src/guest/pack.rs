//! Writing MessagePack maps: the replies and events of the agent.

/// A map (or list) under construction. The caller says the number of entries
/// first and then adds exactly so many.
pub struct Pack(Vec<u8>);

impl Pack {
    pub fn map(entries: usize) -> Pack {
        Pack(Vec::with_capacity(128)).open(0x80, 0xde, entries)
    }

    fn open(mut self, small: u8, large: u8, count: usize) -> Pack {
        match count {
            0..=15 => self.0.push(small | count as u8),
            16..=0xffff => {
                self.0.push(large);
                self.0.extend_from_slice(&(count as u16).to_be_bytes());
            }
            _ => {
                self.0.push(large + 1);
                self.0.extend_from_slice(&(count as u32).to_be_bytes());
            }
        }
        self
    }

    pub fn key(self, key: &str) -> Pack {
        self.item_text(key)
    }

    /// A nested map of `entries` follows.
    pub fn nested(self, entries: usize) -> Pack {
        self.open(0x80, 0xde, entries)
    }

    /// A list of `items` follows.
    pub fn array(self, items: usize) -> Pack {
        self.open(0x90, 0xdc, items)
    }

    /// Bytes that are packed already.
    pub fn raw(mut self, bytes: &[u8]) -> Pack {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn item_text(mut self, text: &str) -> Pack {
        let length = text.len();
        match length {
            0..=31 => self.0.push(0xa0 | length as u8),
            32..=0xff => self.0.extend_from_slice(&[0xd9, length as u8]),
            0x100..=0xffff => {
                self.0.push(0xda);
                self.0.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                self.0.push(0xdb);
                self.0.extend_from_slice(&(length as u32).to_be_bytes());
            }
        }
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub fn item_uint(mut self, number: u64) -> Pack {
        match number {
            0..=0x7f => self.0.push(number as u8),
            0x80..=0xff => self.0.extend_from_slice(&[0xcc, number as u8]),
            0x100..=0xffff => {
                self.0.push(0xcd);
                self.0.extend_from_slice(&(number as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.0.push(0xce);
                self.0.extend_from_slice(&(number as u32).to_be_bytes());
            }
            _ => {
                self.0.push(0xcf);
                self.0.extend_from_slice(&number.to_be_bytes());
            }
        }
        self
    }

    pub fn item_int(mut self, number: i64) -> Pack {
        match u64::try_from(number) {
            Ok(positive) => self.item_uint(positive),
            Err(_) if number >= -32 => {
                self.0.push(number as i8 as u8);
                self
            }
            Err(_) => {
                self.0.push(0xd3);
                self.0.extend_from_slice(&number.to_be_bytes());
                self
            }
        }
    }

    pub fn bin(self, key: &str, bytes: &[u8]) -> Pack {
        let mut pack = self.key(key);
        let length = bytes.len();
        match length {
            0..=0xff => pack.0.extend_from_slice(&[0xc4, length as u8]),
            0x100..=0xffff => {
                pack.0.push(0xc5);
                pack.0.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                pack.0.push(0xc6);
                pack.0.extend_from_slice(&(length as u32).to_be_bytes());
            }
        }
        pack.0.extend_from_slice(bytes);
        pack
    }

    pub fn text(self, key: &str, text: &str) -> Pack {
        self.key(key).item_text(text)
    }

    pub fn uint(self, key: &str, number: u64) -> Pack {
        self.key(key).item_uint(number)
    }

    pub fn int(self, key: &str, number: i64) -> Pack {
        self.key(key).item_int(number)
    }

    pub fn flag(mut self, key: &str, flag: bool) -> Pack {
        self = self.key(key);
        self.0.push(if flag { 0xc3 } else { 0xc2 });
        self
    }

    pub fn nil(mut self, key: &str) -> Pack {
        self = self.key(key);
        self.0.push(0xc0);
        self
    }

    pub fn done(self) -> Vec<u8> {
        self.0
    }
}
