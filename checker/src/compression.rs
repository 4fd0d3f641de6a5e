//! Compressed histories: recognised by their first bytes, whatever the file is called.
//!
//! gzip and zstd, of several members or frames too: compressed files may be concatenated. A file
//! that ends in the middle of a frame is an error, not a history that was cut off: what a run
//! writes line by line is not compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, compress};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes that are read or compressed at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What the reader says, decompressed if it is compressed.
///
/// # Errors
/// Those of the reader.
pub fn decompressed<'r>(reader: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    // A pipe may hand out its first bytes one by one.
    let mut first = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut first)?;
    let (gzip, zstd) = (first.starts_with(&GZIP), first.starts_with(&ZSTD));
    if !gzip && !zstd {
        // Whole pieces are read past the buffer once it is empty.
        return Ok(Box::new(io::Cursor::new(first).chain(reader)));
    }
    let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(first).chain(reader));
    Ok(match gzip {
        true => Box::new(MultiGzDecoder::new(whole)),
        false => Box::new(Frames {
            source: Some(whole),
            frame: None,
        }),
    })
}

/// The frames of a zstd file, one after the other.
struct Frames<R: BufRead> {
    /// Between two frames.
    source: Option<R>,
    frame: Option<StreamingDecoder<R, FrameDecoder>>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(mut source) = self.source.take() {
                if source.fill_buf()?.is_empty() {
                    self.source = Some(source);
                    return Ok(0);
                }
                let frame = StreamingDecoder::new(source).map_err(io::Error::other)?;
                self.frame = Some(frame);
            }
            let Some(frame) = self.frame.as_mut() else {
                return Ok(0); // An error came before.
            };
            let read = frame.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.source = self.frame.take().map(StreamingDecoder::into_inner);
        }
    }
}

/// A file to write, compressed if its name ends in `.gz` or `.zst`. Finish it by
/// [`Output::finish`].
pub enum Output {
    /// As it is.
    Plain(io::BufWriter<File>),
    /// gzip.
    Gzip(GzEncoder<File>),
    /// zstd: each full buffer is one frame.
    Zstd(File, Vec<u8>),
}

impl Output {
    /// Creates the file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path) -> io::Result<Output> {
        let file = File::create(path)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        Ok(match extension {
            Some("gz") => Output::Gzip(GzEncoder::new(file, Compression::fast())),
            Some("zst") => Output::Zstd(file, Vec::new()),
            _ => Output::Plain(io::BufWriter::with_capacity(BUFFER_BYTES, file)),
        })
    }

    /// Everything is in the file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Output::Plain(mut file) => file.flush(),
            Output::Gzip(encoder) => encoder.finish()?.flush(),
            Output::Zstd(mut file, rest) => {
                frame(&mut file, &rest)?;
                file.flush()
            }
        }
    }
}

fn frame(file: &mut File, content: &[u8]) -> io::Result<()> {
    let mut compressed = Vec::new();
    compress(content, &mut compressed, CompressionLevel::Fastest);
    file.write_all(&compressed)
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Plain(file) => file.write(bytes),
            Output::Gzip(encoder) => encoder.write(bytes),
            Output::Zstd(file, buffer) => {
                buffer.extend_from_slice(bytes);
                if buffer.len() >= BUFFER_BYTES {
                    frame(file, buffer)?;
                    buffer.clear();
                }
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Plain(file) => file.flush(),
            Output::Gzip(encoder) => encoder.flush(),
            Output::Zstd(file, _) => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, content: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(name);
        let mut output = Output::create(&path).expect("a file");
        content
            .chunks(1000)
            .for_each(|chunk| output.write_all(chunk).expect("written"));
        output.finish().expect("finished");
        let stored = std::fs::read(&path).expect("a file");
        let mut read = Vec::new();
        decompressed(&stored[..])
            .and_then(|mut reader| reader.read_to_end(&mut read))
            .expect("readable");
        (stored, read)
    }

    #[test]
    fn what_is_written_is_read_whatever_the_compression() {
        let line = "{\"index\":1,\"value\":[[\"send\",\"x\",[0,1]]]}\n";
        let content = line.repeat(60_000).into_bytes();
        for (name, compressed) in [("h.jsonl", false), ("h.gz", true), ("h.jsonl.zst", true)] {
            let (stored, read) = written(name, &content);
            assert!(read == content, "{name}");
            assert_eq!(stored.len() * 5 < content.len(), compressed, "{name}");
        }
    }

    #[test]
    fn concatenated_members_are_one_file_and_short_files_are_plain() {
        for name in ["h.gz", "h.zst"] {
            let (stored, _) = written(name, b"one\n");
            let twice = [&stored[..], &stored[..]].concat();
            let mut text = String::new();
            let mut reader = decompressed(&twice[..]).expect("readable");
            reader.read_to_string(&mut text).expect("readable");
            assert_eq!(text, "one\none\n", "{name}");
            let cut = &stored[..stored.len() - 3];
            let mut reader = decompressed(cut).expect("its beginning is good");
            assert!(reader.read_to_end(&mut Vec::new()).is_err(), "{name}");
        }
        for short in [&b""[..], b"{", b"\x1f", b"\x28\xb5"] {
            let mut read = Vec::new();
            let mut reader = decompressed(short).expect("readable");
            reader.read_to_end(&mut read).expect("readable");
            assert_eq!(read, short);
        }
    }
}
