//! What a sandbox wrote, from a file that grows, is cut, or is replaced meanwhile.

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes read at once.
const CHUNK: usize = 32 * 1024;
/// How soon new output is seen. Asking the file is cheap, and works on every
/// file system, which watching doesn't.
const INTERVAL: Duration = Duration::from_millis(200);

/// A log to be read.
pub(crate) struct Tail {
    /// The file; it need not exist.
    pub(crate) path: PathBuf,
    /// Only that many lines of what there is; everything when absent.
    pub(crate) lines: Option<u64>,
    /// Whether to go on with what is written later.
    pub(crate) follow: bool,
}

impl Tail {
    /// The content, in pieces. Ends at the end of the file unless it follows.
    pub(crate) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold((self, None), |(mut tail, mut open)| async move {
            loop {
                if open.is_none() {
                    open = tail.open().await?;
                }
                if let Some(file) = &mut open {
                    let mut piece = Vec::with_capacity(CHUNK);
                    if file.read_buf(&mut piece).await? > 0 {
                        return Ok(Some((Bytes::from(piece), (tail, open))));
                    }
                }
                if !tail.follow {
                    return Ok(None);
                }
                tokio::time::sleep(INTERVAL).await;
                if let Some(file) = &mut open
                    && tail.was_replaced(file).await?
                {
                    open = None;
                }
            }
        })
    }

    /// Opens the file where reading begins: nothing when there is none.
    async fn open(&mut self) -> io::Result<Option<File>> {
        let mut file = match File::open(&self.path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Whatever appears later is new as a whole.
                self.lines = None;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Only at first: a file that took the place of another is read whole.
        if let Some(lines) = self.lines.take() {
            let start = start_of_last(lines, &mut file).await?;
            file.seek(SeekFrom::Start(start)).await?;
        }
        Ok(Some(file))
    }

    /// Whether the path leads elsewhere now, or the file was cut shorter than
    /// what was read of it.
    async fn was_replaced(&self, file: &mut File) -> io::Result<bool> {
        let at_path = match tokio::fs::metadata(&self.path).await {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let ours = file.metadata().await?;
        let same = (at_path.dev(), at_path.ino()) == (ours.dev(), ours.ino());
        Ok(!same || ours.len() < file.stream_position().await?)
    }
}

/// Where the last `lines` lines begin.
async fn start_of_last(lines: u64, file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata().await?.len();
    let mut seen = 0;
    let mut at_the_end = true;
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        file.seek(SeekFrom::Start(start)).await?;
        let mut piece = Vec::with_capacity(CHUNK);
        (&mut *file).take(end - start).read_to_end(&mut piece).await?;
        for (i, byte) in piece.iter().enumerate().rev() {
            // The line end that ends the file begins no further line.
            if *byte == b'\n' && !std::mem::take(&mut at_the_end) {
                seen += 1;
                if seen == lines {
                    return Ok(start + i as u64 + 1);
                }
            }
            at_the_end = false;
        }
        end = start;
    }
    Ok(if lines == 0 { file.metadata().await?.len() } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use futures_util::StreamExt;

    use super::*;

    async fn read(content: &str, lines: Option<u64>) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        fs::write(&path, content).expect("written");
        let mut all = Vec::new();
        let mut stream = Box::pin(Tail { path, lines, follow: false }.stream());
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece.expect("read"));
        }
        String::from_utf8(all).expect("text")
    }

    #[tokio::test]
    async fn the_last_lines_are_whole_lines() {
        let check = async |content: &str, lines, expected: &str| {
            assert_eq!(read(content, Some(lines)).await, expected, "{lines} of {content:?}");
        };
        check("a\nb\nc\n", 2, "b\nc\n").await;
        check("a\nb\nc", 2, "b\nc").await;
        check("a\nb\n", 9, "a\nb\n").await;
        check("a\n\n\n", 2, "\n\n").await;
        check("a\n", 0, "").await;
        check("", 3, "").await;
        let long = format!("{}\n", "x".repeat(100)).repeat(2000);
        assert_eq!(read(&long, Some(700)).await.len(), 700 * 101);
        assert_eq!(read(&long, None).await.len(), long.len());
    }

    #[tokio::test]
    async fn a_follower_sees_what_is_written_cut_and_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let tail = Tail { path: path.clone(), lines: Some(10), follow: true };
        let mut stream = Box::pin(tail.stream());
        let mut next = async || {
            let piece = stream.next().await.expect("more").expect("read");
            String::from_utf8(piece.to_vec()).expect("text")
        };
        fs::write(&path, "one\n").expect("made");
        assert_eq!(next().await, "one\n");
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(b"two\n").expect("appended");
        assert_eq!(next().await, "two\n");
        fs::write(&path, "cut\n").expect("cut");
        assert_eq!(next().await, "cut\n");
        fs::rename(&path, dir.path().join("log.1")).expect("moved");
        fs::write(&path, "a new file\n").expect("made");
        assert_eq!(next().await, "a new file\n");
    }
}
