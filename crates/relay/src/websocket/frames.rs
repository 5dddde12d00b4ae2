//! Walks over WebSocket frames without looking into them (RFC 6455 §5.2).

/// Position in a stream of frames. Only headers are read; payloads are skipped by
/// their length. Keeps fourteen bytes and allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    header: [u8; 14],
    have: usize,
    /// Bytes of payload to go.
    left: u64,
    counts: bool,
    close: bool,
    /// More frames of the same message are to come.
    unfinished: bool,
}

impl Frames {
    /// Goes over `bytes` and returns how many of them belong to frames that a
    /// *user* causes: data and close, not the pings and pongs that keep an idle
    /// connection open by themselves.
    pub fn walk(&mut self, mut bytes: &[u8]) -> u64 {
        let mut counted = 0;
        while !bytes.is_empty() {
            let (taken, counts) = self.step(bytes);
            if counts {
                counted += taken as u64;
            }
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        counted
    }

    /// Whether the bytes so far end with a frame.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether the bytes so far end with a frame, and that frame with its message.
    #[must_use]
    pub fn between_messages(&self) -> bool {
        self.at_boundary() && !self.unfinished
    }

    /// Whether a whole close frame has passed.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.close && self.at_boundary()
    }

    /// How many of `bytes` complete the frame that is under way: none if there is
    /// none, all if it goes on after them.
    #[must_use]
    pub fn until_boundary(&self, bytes: &[u8]) -> usize {
        let mut ahead = self.clone();
        let mut taken = 0;
        while !ahead.at_boundary() {
            let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) else { break };
            taken += ahead.step(rest).0;
        }
        taken
    }

    /// Takes a stretch of one frame: its length, and whether it counts.
    fn step(&mut self, bytes: &[u8]) -> (usize, bool) {
        if self.left > 0 {
            let take = usize::try_from(self.left).map_or(bytes.len(), |l| l.min(bytes.len()));
            self.left -= take as u64;
            return (take, self.counts);
        }
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken) {
            if let Some(slot) = self.header.get_mut(self.have) {
                *slot = *byte;
            }
            self.have += 1;
            taken += 1;
            if self.have == 1 {
                // 0x8 is close, 0x9 and 0xa are ping and pong; 0xb to 0xf are
                // control frames that nobody has defined yet.
                let opcode = byte & 0x0f;
                self.counts = opcode <= 0x8;
                self.close |= opcode == 0x8;
                // Control frames may stand between the frames of a message.
                if opcode < 0x8 {
                    self.unfinished = byte & 0x80 == 0;
                }
            }
            if self.have >= 2 && self.have == self.header_length() {
                self.left = self.payload_length();
                self.have = 0;
                break;
            }
        }
        (taken, self.counts)
    }

    fn header_length(&self) -> usize {
        let [_, second, ..] = self.header;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        mask + match second & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn payload_length(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.header;
        match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }
}

/// A close frame, towards a client unmasked, towards an application masked. The
/// mask is zero: it protects proxies that are fooled by what scripts send
/// (RFC 6455 §10.3), and nothing here is chosen by a script.
#[must_use]
pub fn close_frame(code: u16, text: &str, masked: bool) -> Vec<u8> {
    let text = text.as_bytes().get(..123).unwrap_or(text.as_bytes());
    let length = u8::try_from(text.len() + 2).unwrap_or(125);
    let mut frame = vec![0x88, length | if masked { 0x80 } else { 0 }];
    if masked {
        frame.extend_from_slice(&[0; 4]);
    }
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(text);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: usize, masked: bool) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let mask = if masked { 0x80 } else { 0 };
        match payload {
            0..=125 => frame.push(mask | payload as u8),
            126..=65535 => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4][..if masked { 4 } else { 0 }]);
        frame.resize(frame.len() + payload, 0x89);
        frame
    }

    #[test]
    fn a_walk_counts_the_same_however_the_bytes_are_cut() {
        let mut stream = Vec::new();
        let mut expected = 0;
        for (opcode, payload) in
            [(1, 0), (9, 5), (2, 125), (0, 126), (10, 125), (2, 70_000), (8, 2), (1, 65_535)]
        {
            for masked in [false, true] {
                let frame = frame(opcode, payload, masked);
                expected += if opcode < 9 { frame.len() as u64 } else { 0 };
                stream.extend(frame);
            }
        }
        for cut in [1, 2, 3, 7, 13, 1000, 65_536, stream.len()] {
            let mut frames = Frames::default();
            let counted: u64 = stream.chunks(cut).map(|bytes| frames.walk(bytes)).sum();
            assert_eq!(counted, expected, "cut every {cut}");
            assert!(frames.at_boundary());
        }
    }

    #[test]
    fn the_rest_of_a_frame_is_found_from_any_point_within_it() {
        let one = frame(2, 300, true);
        let two = [one.clone(), one.clone()].concat();
        for at in 0..=one.len() {
            let mut frames = Frames::default();
            frames.walk(&two[..at]);
            assert_eq!(frames.until_boundary(&two[at..]), (one.len() - at) % one.len(), "{at}");
        }
    }

    #[test]
    fn a_message_ends_with_its_last_frame_and_no_other() {
        let mut frames = Frames::default();
        let pieces: [(&[u8], bool); 5] = [
            (b"\x01\x01a", false),
            (b"\x89\x00", false),
            (b"\x00\x01b", false),
            (b"\x80\x02c", false),
            (b"d", true),
        ];
        for (bytes, between) in pieces {
            frames.walk(bytes);
            assert_eq!(frames.between_messages(), between, "after {bytes:?}");
        }
    }

    #[test]
    fn a_close_frame_is_a_whole_frame() {
        for masked in [false, true] {
            let mut frames = Frames::default();
            frames.walk(&close_frame(4401, "the credential expired", masked));
            assert!(frames.at_boundary() && frames.ended());
        }
    }
}
