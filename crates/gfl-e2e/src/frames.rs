//! The bulk stream, written from its documented layout and not with the code under test.

/// A file as a frame stream carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A file with its content.
    File {
        /// Number in the request.
        index: u32,
        /// Path.
        path: String,
        /// Content.
        content: Vec<u8>,
    },
    /// A file that could not be sent.
    Error {
        /// Number in the request.
        index: u32,
        /// Status a single request would have had.
        status: u16,
        /// Path.
        path: String,
        /// Problem code.
        code: String,
    },
    /// The regular end.
    End,
}

/// The body of a bulk put with BLAKE3 roots.
pub fn put_body(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"GFLBULK1".to_vec();
    for (index, (path, content)) in files.iter().enumerate() {
        file(
            &mut out,
            index as u32,
            path,
            content,
            Some(blake3::hash(content).as_bytes()),
        );
    }
    end(&mut out);
    out
}

/// Appends one file.
pub fn file(out: &mut Vec<u8>, index: u32, path: &str, content: &[u8], b3: Option<&[u8; 32]>) {
    let mut header = vec![1, u8::from(b3.is_some())];
    header.extend(index.to_le_bytes());
    header.extend((content.len() as u64).to_le_bytes());
    header.extend(0i64.to_le_bytes());
    header.extend(u32::MAX.to_le_bytes());
    header.extend(b3.into_iter().flatten());
    header.extend((path.len() as u16).to_le_bytes());
    header.extend(path.as_bytes());
    out.extend((header.len() as u32).to_le_bytes());
    out.extend(header);
    out.extend(content);
}

/// Appends the end.
pub fn end(out: &mut Vec<u8>) {
    out.extend([1, 0, 0, 0, 2]);
}

/// Reads a whole stream; `None` when it is malformed or cut short.
pub fn parse(stream: &[u8]) -> Option<Vec<Frame>> {
    let mut input = Input(stream.strip_prefix(b"GFLBULK1")?);
    let mut frames = Vec::new();
    loop {
        let len = u32::from_le_bytes(input.array()?) as usize;
        let mut header = Input(input.take(len)?);
        match header.array::<1>()?[0] {
            1 => frames.push(parse_file(&mut header, &mut input)?),
            2 => {
                frames.push(Frame::End);
                return input.0.is_empty().then_some(frames);
            }
            3 => {
                let index = u32::from_le_bytes(header.array()?);
                let status = u16::from_le_bytes(header.array()?);
                let (path, code) = (header.text()?, header.text()?);
                frames.push(Frame::Error {
                    index,
                    status,
                    path,
                    code,
                });
            }
            4 | 128.. => {}
            _ => return None,
        }
    }
}

fn parse_file(header: &mut Input<'_>, input: &mut Input<'_>) -> Option<Frame> {
    let flags = header.array::<1>()?[0];
    let index = u32::from_le_bytes(header.array()?);
    let size = u64::from_le_bytes(header.array()?);
    let _mtime_and_mode = header.take(12)?;
    let b3 = if flags & 1 != 0 {
        Some(header.take(32)?)
    } else {
        None
    };
    let path = header.text()?;
    let content = input.take(size as usize)?.to_vec();
    let honest = b3.is_none_or(|b3| blake3::hash(&content).as_bytes() == b3);
    honest.then_some(Frame::File {
        index,
        path,
        content,
    })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn text(&mut self) -> Option<String> {
        let len = u16::from_le_bytes(self.array()?);
        String::from_utf8(self.take(len as usize)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let files = vec![
            ("a".to_owned(), b"one".to_vec()),
            ("b/ü".to_owned(), Vec::new()),
        ];
        let frames = parse(&put_body(&files)).unwrap();
        let file = |index, path: &str, content: &[u8]| Frame::File {
            index,
            path: path.to_owned(),
            content: content.to_vec(),
        };
        assert_eq!(
            frames,
            [file(0, "a", b"one"), file(1, "b/ü", b""), Frame::End]
        );
    }
}
