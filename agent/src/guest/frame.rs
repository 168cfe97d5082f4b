//! Frames: a 10-byte header and a payload (docs/protocol.md, "Frames").

pub const HEADER: usize = 10;
/// Largest payload of a data frame, in bytes.
pub const MAX_DATA: usize = 1_048_576;
/// Largest payload of every other kind, in bytes.
pub const MAX_CONTROL: usize = 262_144;
/// Credit each direction of a channel starts with, in bytes.
pub const WINDOW: u64 = 262_144;
/// Most credit a sender may hold, in bytes.
pub const MAX_CREDIT: u64 = 1 << 31;

pub const FIN: u8 = 0x80;
pub const ERROR: u8 = 0x40;
pub const PONG: u8 = 0x01;
const STREAM: u8 = 0x0f;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hello = 1,
    Open = 2,
    Reply = 3,
    Event = 4,
    Data = 5,
    Credit = 6,
    End = 7,
    Ping = 8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub length: usize,
    pub channel: u32,
    pub kind: Kind,
    pub flags: u8,
}

impl Header {
    pub fn fin(&self) -> bool {
        self.flags & FIN != 0
    }

    pub fn error(&self) -> bool {
        self.flags & ERROR != 0
    }

    /// The stream a data frame belongs to.
    pub fn stream(&self) -> u8 {
        self.flags & STREAM
    }
}

/// A rule of the protocol that the peer broke. It ends the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub &'static str);

pub fn encode_header(kind: Kind, flags: u8, channel: u32, length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&(length as u32).to_be_bytes());
    header[4..8].copy_from_slice(&channel.to_be_bytes());
    header[8] = kind as u8;
    header[9] = flags;
    header
}

/// Checks everything a header alone can tell.
pub fn decode_header(bytes: &[u8; HEADER]) -> Result<Header, Violation> {
    let [l0, l1, l2, l3, c0, c1, c2, c3, kind, flags] = *bytes;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let channel = u32::from_be_bytes([c0, c1, c2, c3]);
    let kind = match kind {
        1 => Kind::Hello,
        2 => Kind::Open,
        3 => Kind::Reply,
        4 => Kind::Event,
        5 => Kind::Data,
        6 => Kind::Credit,
        7 => Kind::End,
        8 => Kind::Ping,
        _ => return Err(Violation("unknown frame kind")),
    };
    let limit = if kind == Kind::Data {
        MAX_DATA
    } else {
        MAX_CONTROL
    };
    if length > limit {
        return Err(Violation("payload too long"));
    }
    let allowed = match kind {
        Kind::Hello | Kind::Credit => 0,
        Kind::Open | Kind::Event => FIN,
        Kind::Reply => FIN | ERROR,
        Kind::Data => FIN | STREAM,
        Kind::End => ERROR,
        Kind::Ping => PONG,
    };
    if flags & !allowed != 0 {
        return Err(Violation("flag not allowed on this kind"));
    }
    match kind {
        Kind::Hello | Kind::Ping if channel != 0 => Err(Violation("frame belongs on channel 0")),
        Kind::Open | Kind::Reply | Kind::Event | Kind::Data | Kind::Credit if channel == 0 => {
            Err(Violation("frame needs a channel"))
        }
        Kind::Data if flags & STREAM > 2 => Err(Violation("unknown stream")),
        Kind::Reply if flags & ERROR != 0 && flags & FIN == 0 => {
            Err(Violation("an error reply needs FIN"))
        }
        Kind::Credit if length != 4 => Err(Violation("credit is four bytes")),
        Kind::Ping if length != 8 => Err(Violation("ping is eight bytes")),
        Kind::End if flags & ERROR == 0 && length != 0 => Err(Violation("end carries nothing")),
        Kind::End if flags & ERROR == 0 && channel == 0 => {
            Err(Violation("the link ends with an error")) // a plain close says the rest
        }
        _ => Ok(Header {
            length,
            channel,
            kind,
            flags,
        }),
    }
}

/// Cuts a byte stream into frames. Holds at most one incomplete frame and what
/// one read brought beyond it.
#[derive(Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    /// The buffer to read into, with at least `room` bytes of spare capacity.
    pub fn spare(&mut self, room: usize) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let missing = self.wanted().saturating_sub(self.buffer.len());
        self.buffer.reserve(room.max(missing));
        &mut self.buffer
    }

    /// Bytes of the frame under way, once its header is here.
    fn wanted(&self) -> usize {
        match self.peek() {
            Some(Ok(header)) => HEADER + header.length,
            _ => 0,
        }
    }

    fn peek(&self) -> Option<Result<Header, Violation>> {
        let bytes = self.buffer.get(self.start..self.start + HEADER)?;
        <&[u8; HEADER]>::try_from(bytes).ok().map(decode_header)
    }

    /// The next complete frame. A bad header is reported before its payload is awaited.
    pub fn next_frame(&mut self) -> Result<Option<(Header, &[u8])>, Violation> {
        let header = match self.peek() {
            None => return Ok(None),
            Some(header) => header?,
        };
        let from = self.start + HEADER;
        let to = from + header.length;
        if self.buffer.len() < to {
            return Ok(None);
        }
        self.start = to;
        Ok(Some((header, &self.buffer[from..to])))
    }

    /// Gives memory back while nothing is under way.
    pub fn shrink(&mut self) {
        if self.start >= self.buffer.len() {
            self.buffer = Vec::new();
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_split() {
        let mut bytes = Vec::new();
        for channel in 1..20u32 {
            let payload = vec![channel as u8; channel as usize * 7];
            bytes.extend_from_slice(&encode_header(Kind::Data, FIN | 1, channel, payload.len()));
            bytes.extend_from_slice(&payload);
        }
        for piece in 1..40 {
            let mut reader = FrameReader::default();
            let mut seen = 0u32;
            for part in bytes.chunks(piece) {
                reader.spare(part.len()).extend_from_slice(part);
                while let Some((header, payload)) = reader.next_frame().expect("valid") {
                    seen += 1;
                    assert_eq!(header.channel, seen);
                    assert_eq!(payload, vec![seen as u8; seen as usize * 7]);
                }
            }
            assert_eq!(seen, 19);
        }
    }

    #[test]
    fn bad_headers_are_refused_before_their_payload() {
        let bad = [
            encode_header(Kind::Data, 0, 1, MAX_DATA + 1),
            encode_header(Kind::Open, 0, 1, MAX_CONTROL + 1),
            encode_header(Kind::Data, 3, 1, 0),
            encode_header(Kind::Reply, ERROR, 1, 0),
            encode_header(Kind::Hello, 0, 1, 0),
            encode_header(Kind::Open, 0, 0, 0),
            encode_header(Kind::End, 0, 1, 1),
            encode_header(Kind::Ping, 0, 0, 7),
            encode_header(Kind::Credit, 0, 1, 5),
        ];
        for header in bad {
            let mut reader = FrameReader::default();
            reader.spare(HEADER).extend_from_slice(&header);
            assert!(reader.next_frame().is_err(), "{:?}", header);
        }
    }
}
