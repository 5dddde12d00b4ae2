use super::Limits;
use super::framing::Framing;
use super::violation::Violation;

/// What comes of `stream` when it arrives in `pieces`: how many bytes were handed
/// on, how many heads, and what was refused.
fn outcome(pieces: &[&[u8]]) -> (usize, u64, Option<Violation>) {
    let mut framing = Framing::new(Limits::default());
    let (mut held, mut seen, mut passed) = (Vec::new(), 0, 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        match framing.judge(&held, seen) {
            Ok(judged) => {
                passed += judged.pass;
                seen = judged.pending;
                held.drain(..judged.pass);
            }
            Err(refused) => {
                return (passed + refused.pass, framing.heads(), Some(refused.violation));
            }
        }
    }
    (passed, framing.heads(), None)
}

const STREAMS: [&[u8]; 6] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nanything at all",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"\r\nHEAD http://a/ HTTP/1.0\r\nHOST:\ta \r\n\r\n\x16\x03\x01\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGARBAGE\r\n",
];

#[test]
fn the_outcome_does_not_depend_on_how_the_stream_is_cut() {
    for stream in STREAMS {
        let whole = outcome(&[stream]);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(outcome(&pieces), whole, "{:?}", pieces.map(String::from_utf8_lossy));
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(outcome(&bytes), whole);
    }
}

#[test]
fn nothing_after_an_upgrade_request_is_handed_on_before_its_answer() {
    let head_end = STREAMS[2].len() - b"anything at all".len();
    assert_eq!(outcome(&[STREAMS[2]]), (head_end, 1, None));
}
