//! What a sandbox wrote, from a file that grows, is cut, or is replaced meanwhile.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
    /// The file; it need not exist. What it was before it was replaced stands
    /// beside it, with `.1` behind its name, or nowhere.
    pub(crate) path: PathBuf,
    /// Only that many lines of what there is; everything when absent.
    pub(crate) lines: Option<u64>,
    /// Whether to go on with what is written later.
    pub(crate) follow: bool,
}

impl Tail {
    /// The content, in pieces. Ends at the end of the file unless it follows.
    pub(crate) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold((self, None), |(tail, mut files)| async move {
            // The first is being read; when there are others, it grows no more.
            let mut open: VecDeque<File> = match files.take() {
                Some(open) => open,
                None => tail.open().await?,
            };
            loop {
                if let Some(file) = open.front_mut() {
                    let mut piece = Vec::with_capacity(CHUNK);
                    if file.read_buf(&mut piece).await? > 0 {
                        return Ok(Some((Bytes::from(piece), (tail, Some(open)))));
                    }
                }
                if open.len() > 1 {
                    open.pop_front();
                    continue;
                }
                if !tail.follow {
                    return Ok(None);
                }
                tokio::time::sleep(INTERVAL).await;
                tail.look_again(&mut open).await?;
            }
        })
    }

    /// Opens what there is, each file where reading begins.
    async fn open(&self) -> io::Result<VecDeque<File>> {
        let mut open = VecDeque::new();
        let Some(mut current) = existing(&self.path).await? else { return Ok(open) };
        let id = identity(&current.metadata().await?);
        // It may have taken the place of the other this very moment.
        let earlier = match existing(&before(&self.path)).await? {
            Some(file) if identity(&file.metadata().await?) != id => Some(file),
            _ => None,
        };
        let missing = match self.lines {
            Some(lines) => begin_at_last(lines, &mut current).await?,
            None => u64::MAX,
        };
        if let Some(mut earlier) = earlier.filter(|_| missing > 0) {
            if self.lines.is_some() {
                begin_at_last(missing, &mut earlier).await?;
            }
            open.push_back(earlier);
        }
        open.push_back(current);
        Ok(open)
    }

    /// Notices a file that has appeared, was cut, or took the place of another.
    async fn look_again(&self, open: &mut VecDeque<File>) -> io::Result<()> {
        let Some(at_path) = existing(&self.path).await? else { return Ok(()) };
        if let Some(ours) = open.front_mut() {
            let (now, then) = (at_path.metadata().await?, ours.metadata().await?);
            if identity(&now) == identity(&then) {
                if then.len() < ours.stream_position().await? {
                    ours.rewind().await?;
                }
                return Ok(());
            }
        }
        open.push_back(at_path);
        Ok(())
    }
}

async fn existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path).await {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Seeks to where the last `lines` lines begin; answers how many it has too few.
async fn begin_at_last(lines: u64, file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    if lines == 0 || end == 0 {
        return Ok(lines);
    }
    let mut seen = 0;
    let mut at_the_end = true;
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        file.seek(SeekFrom::Start(start)).await?;
        let mut piece = Vec::with_capacity(CHUNK);
        (&mut *file).take(end - start).read_to_end(&mut piece).await?;
        for (i, byte) in piece.iter().enumerate().rev() {
            // The line end that ends the file begins no further line.
            if *byte == b'\n' && !at_the_end {
                seen += 1;
                if seen == lines {
                    file.seek(SeekFrom::Start(start + i as u64 + 1)).await?;
                    return Ok(0);
                }
            }
            at_the_end = false;
        }
        end = start;
    }
    file.rewind().await?;
    // What stands before the first line end is a line, too.
    Ok(lines - seen - 1)
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
    async fn what_was_replaced_is_read_before_what_took_its_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        fs::write(before(&path), "one\ntwo\n").expect("written");
        fs::write(&path, "three\nfour\n").expect("written");
        let check = async |lines, expected: &str| {
            let mut stream = Box::pin(Tail { path: path.clone(), lines, follow: false }.stream());
            let mut all = Vec::new();
            while let Some(piece) = stream.next().await {
                all.extend_from_slice(&piece.expect("read"));
            }
            assert_eq!(String::from_utf8_lossy(&all), expected, "{lines:?}");
        };
        check(None, "one\ntwo\nthree\nfour\n").await;
        check(Some(1), "four\n").await;
        check(Some(2), "three\nfour\n").await;
        check(Some(3), "two\nthree\nfour\n").await;
        check(Some(9), "one\ntwo\nthree\nfour\n").await;
        fs::write(&path, "").expect("cut");
        check(Some(1), "two\n").await;
        fs::remove_file(&path).expect("removed");
        check(Some(1), "").await;
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
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(b"last\n").expect("appended");
        fs::rename(&path, before(&path)).expect("moved");
        fs::write(&path, "a new file\n").expect("made");
        assert_eq!(next().await, "last\n");
        assert_eq!(next().await, "a new file\n");
    }
}
