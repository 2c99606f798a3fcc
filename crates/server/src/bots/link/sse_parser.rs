//! Server-sent events, taken from a stream of bytes.

/// The longest line, and the largest event, that is read; what is longer is counted as lost.
pub(super) const MAX_EVENT: usize = 256 * 1024;

/// An event beyond [`MAX_EVENT`]; its bytes are gone.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::bots) struct EventTooLarge;

/// Takes a stream of server-sent events apart. Only `data` matters: our ids stand in the data as well.
#[derive(Debug, Default)]
pub(in crate::bots) struct SseParser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    too_large: bool,
    after_carriage_return: bool,
}

impl SseParser {
    /// Takes the next bytes; returns the events that are complete now.
    pub(in crate::bots) fn push(&mut self, bytes: &[u8]) -> Vec<Result<Vec<u8>, EventTooLarge>> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let second_half = byte == b'\n' && self.after_carriage_return;
            self.after_carriage_return = byte == b'\r';
            if second_half {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                complete.extend(self.end_of_line());
            } else if self.line.len() < MAX_EVENT {
                self.line.push(byte);
            } else {
                self.too_large = true;
            }
        }
        complete
    }

    fn end_of_line(&mut self) -> Option<Result<Vec<u8>, EventTooLarge>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let (had_data, too_large) = (self.has_data, self.too_large);
            (self.has_data, self.too_large) = (false, false);
            if too_large {
                return Some(Err(EventTooLarge));
            }
            return had_data.then_some(Ok(data));
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[][..],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            // A comment, an id, or a field that is not ours.
            _ => return None,
        };
        if self.data.len() + value.len() > MAX_EVENT {
            self.too_large = true;
            return None;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        self.has_data = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|data| Ok(data.as_bytes().to_vec())).collect();
        assert_eq!(SseParser::default().push(stream.as_bytes()), expected, "in one piece");
        let mut parser = SseParser::default();
        let in_bytes: Vec<_> = stream.bytes().flat_map(|byte| parser.push(&[byte])).collect();
        assert_eq!(in_bytes, expected, "byte by byte");
    }

    #[test]
    fn events_end_at_an_empty_line_whatever_the_line_ends() {
        check("id: a/1\ndata: {\"x\":1}\n\ndata:two\n\n", &["{\"x\":1}", "two"]);
        check("data: one\r\n\r\ndata: two\r\rdata: three\n\n", &["one", "two", "three"]);
        check("data: first\ndata: second\n\n", &["first\nsecond"]);
        check("data\n\n", &[""]);
    }

    #[test]
    fn comments_other_fields_and_unfinished_events_are_no_events() {
        check(": keep-alive\n\nevent: fill\n\nretry: 5\n\n", &[]);
        check("data: never finished\n", &[]);
    }

    #[test]
    fn an_event_that_is_too_large_is_dropped_and_the_next_one_is_read() {
        let mut parser = SseParser::default();
        let line = format!("data: {}\n\ndata: next\n\n", "x".repeat(2 * MAX_EVENT));
        assert_eq!(parser.push(line.as_bytes()), [Err(EventTooLarge), Ok(b"next".to_vec())]);
        let many = format!("{}\ndata: next\n\n", "data: 0123456789\n".repeat(MAX_EVENT / 10 + 1));
        assert_eq!(parser.push(many.as_bytes()), [Err(EventTooLarge), Ok(b"next".to_vec())]);
        assert!(parser.line.capacity() <= 2 * MAX_EVENT);
    }
}
