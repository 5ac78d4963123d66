//! An incremental JSON scanner: takes text in pieces of any size and gives out tokens without holding more than
//! one number. Errors are worded as Go words them, since v0.1 passed them on to its clients.
//!
//! Knows nothing of what the values mean.

use super::V0Error;
use crate::limits::V0_JSON_DEPTH_MAX;

/// Bytes kept of a number; a longer one is no integer anyone means.
const NUMBER_BYTES_MAX: usize = 64;

/// What the scanner has found. Texts come in pieces with escapes resolved; their bytes may be invalid UTF-8.
pub(super) enum Token<'a> {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    /// A piece of a key.
    KeyText(&'a [u8]),
    KeyEnd,
    /// A piece of a text value.
    Text(&'a [u8]),
    TextEnd,
    /// A number as written, cut to [`NUMBER_BYTES_MAX`].
    Number(&'a [u8]),
    Bool,
    Null,
}

#[derive(Clone, Copy)]
enum State {
    /// A value; the end of the array too if it is the array's first.
    Value {
        first: bool,
    },
    /// A key; the end of the object too if it is the object's first.
    Key {
        first: bool,
    },
    Colon,
    /// A comma, the end of what is open, or nothing more at the top.
    After,
    Text,
    Escape,
    Unicode {
        digits: u8,
        value: u16,
    },
    Number(Number),
    Literal {
        word: &'static str,
        at: usize,
    },
}

/// Where in a number the scanner is, named by what was last.
#[derive(Clone, Copy)]
enum Number {
    Minus,
    Zero,
    Digits,
    Dot,
    Fraction,
    E,
    ESign,
    Exponent,
}

impl Number {
    const fn may_end(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Digits | Self::Fraction | Self::Exponent
        )
    }

    /// The next place, none if `byte` does not belong to the number.
    const fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Digits, b'0'..=b'9') => Self::Digits,
            (Self::Zero | Self::Digits, b'.') => Self::Dot,
            (Self::Dot | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Self::E,
            (Self::E, b'+' | b'-') => Self::ESign,
            (Self::E | Self::ESign | Self::Exponent, b'0'..=b'9') => Self::Exponent,
            _ => return None,
        })
    }

    const fn context(self) -> &'static str {
        match self {
            Self::Dot => "after decimal point in numeric literal",
            Self::E | Self::ESign => "in exponent of numeric literal",
            _ => "in numeric literal",
        }
    }
}

pub(super) struct Scanner {
    state: State,
    /// What is open, outermost first: true for an object.
    open: Vec<bool>,
    /// Whether the text being read is a key.
    in_key: bool,
    /// The first half of a pair of UTF-16 escapes.
    surrogate: Option<u16>,
    number: Vec<u8>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Value { first: false },
            open: Vec::new(),
            in_key: false,
            surrogate: None,
            number: Vec::new(),
        }
    }
}

type Answer = Result<(), V0Error>;

impl Scanner {
    /// Takes the next bytes of the document.
    pub(super) fn push(
        &mut self,
        mut input: &[u8],
        sink: &mut impl FnMut(Token<'_>) -> Answer,
    ) -> Answer {
        while let Some((&byte, rest)) = input.split_first() {
            if matches!(self.state, State::Text) {
                let plain = input
                    .iter()
                    .position(|b| matches!(b, b'"' | b'\\' | 0..0x20))
                    .unwrap_or(input.len());
                if plain > 0 {
                    self.text(&input[..plain], sink)?;
                    input = &input[plain..];
                    continue;
                }
            }
            self.byte(byte, sink)?;
            input = rest;
        }
        Ok(())
    }

    /// Ends the document.
    pub(super) fn finish(&mut self, sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        if let State::Number(place) = self.state
            && place.may_end()
        {
            self.end_number(sink)?;
        }
        match self.state {
            State::After if self.open.is_empty() => Ok(()),
            _ => Err(V0Error::UnexpectedEnd),
        }
    }

    fn byte(&mut self, byte: u8, sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Value { .. } | State::Key { .. } | State::Colon | State::After if space => {
                Ok(())
            }
            State::Value { first } => self.value(byte, first, sink),
            State::Key { .. } if byte == b'"' => {
                self.in_key = true;
                self.state = State::Text;
                Ok(())
            }
            State::Key { first: true } if byte == b'}' => self.close(sink),
            State::Key { .. } => Err(unexpected(
                byte,
                "looking for beginning of object key string",
            )),
            State::Colon if byte == b':' => {
                self.state = State::Value { first: false };
                Ok(())
            }
            State::Colon => Err(unexpected(byte, "after object key")),
            State::After => self.after(byte, sink),
            State::Text => self.in_text(byte, sink),
            State::Escape => self.escape(byte, sink),
            State::Unicode { digits, value } => self.unicode(byte, digits, value, sink),
            State::Number(place) => self.in_number(byte, place, sink),
            State::Literal { word, at } => self.literal(byte, word, at, sink),
        }
    }

    fn value(
        &mut self,
        byte: u8,
        first: bool,
        sink: &mut impl FnMut(Token<'_>) -> Answer,
    ) -> Answer {
        match byte {
            b'{' | b'[' => {
                if self.open.len() >= V0_JSON_DEPTH_MAX {
                    return Err(V0Error::TooDeep);
                }
                let object = byte == b'{';
                self.open.push(object);
                self.state = if object {
                    State::Key { first: true }
                } else {
                    State::Value { first: true }
                };
                return sink(if object {
                    Token::ObjectStart
                } else {
                    Token::ArrayStart
                });
            }
            b']' if first => return self.close(sink),
            b'"' => {
                self.in_key = false;
                self.state = State::Text;
            }
            b'-' => self.start_number(byte, Number::Minus),
            b'0' => self.start_number(byte, Number::Zero),
            b'1'..=b'9' => self.start_number(byte, Number::Digits),
            b't' => {
                self.state = State::Literal {
                    word: "true",
                    at: 1,
                }
            }
            b'f' => {
                self.state = State::Literal {
                    word: "false",
                    at: 1,
                }
            }
            b'n' => {
                self.state = State::Literal {
                    word: "null",
                    at: 1,
                }
            }
            _ => return Err(unexpected(byte, "looking for beginning of value")),
        }
        Ok(())
    }

    fn after(&mut self, byte: u8, sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        match (self.open.last(), byte) {
            (None, _) => Err(unexpected(byte, "after top-level value")),
            (Some(true), b',') => {
                self.state = State::Key { first: false };
                Ok(())
            }
            (Some(false), b',') => {
                self.state = State::Value { first: false };
                Ok(())
            }
            (Some(true), b'}') | (Some(false), b']') => self.close(sink),
            (Some(true), _) => Err(unexpected(byte, "after object key:value pair")),
            (Some(false), _) => Err(unexpected(byte, "after array element")),
        }
    }

    fn close(&mut self, sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        self.state = State::After;
        sink(if self.open.pop() == Some(true) {
            Token::ObjectEnd
        } else {
            Token::ArrayEnd
        })
    }

    fn in_text(&mut self, byte: u8, sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        match byte {
            b'\\' => self.state = State::Escape,
            b'"' => {
                self.text(b"", sink)?;
                self.state = if self.in_key {
                    State::Colon
                } else {
                    State::After
                };
                return sink(if self.in_key {
                    Token::KeyEnd
                } else {
                    Token::TextEnd
                });
            }
            _ => return Err(unexpected(byte, "in string literal")),
        }
        Ok(())
    }

    fn escape(&mut self, byte: u8, sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        self.state = State::Text;
        let plain: &[u8] = match byte {
            b'"' => b"\"",
            b'\\' => b"\\",
            b'/' => b"/",
            b'b' => b"\x08",
            b'f' => b"\x0c",
            b'n' => b"\n",
            b'r' => b"\r",
            b't' => b"\t",
            b'u' => {
                self.state = State::Unicode {
                    digits: 0,
                    value: 0,
                };
                return Ok(());
            }
            _ => return Err(unexpected(byte, "in string escape code")),
        };
        self.text(plain, sink)
    }

    fn unicode(
        &mut self,
        byte: u8,
        digits: u8,
        value: u16,
        sink: &mut impl FnMut(Token<'_>) -> Answer,
    ) -> Answer {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Err(unexpected(byte, "in \\u hexadecimal character escape"));
        };
        // A hexadecimal digit fits into any integer.
        let value = value << 4 | u16::try_from(digit).unwrap_or(0);
        if digits < 3 {
            self.state = State::Unicode {
                digits: digits + 1,
                value,
            };
            return Ok(());
        }
        self.state = State::Text;
        let high = self.surrogate.filter(|_| (0xDC00..0xE000).contains(&value));
        if let Some(high) = high {
            self.surrogate = None;
            let pair = char::decode_utf16([high, value])
                .next()
                .and_then(Result::ok);
            return self.character(pair, sink);
        }
        if (0xD800..0xDC00).contains(&value) {
            // Flushes another first half that stood alone, then waits for the second.
            self.text(b"", sink)?;
            self.surrogate = Some(value);
            return Ok(());
        }
        self.character(char::from_u32(u32::from(value)), sink)
    }

    /// Gives out a character, or the replacement character for half a pair.
    fn character(&mut self, c: Option<char>, sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.text(c.encode_utf8(&mut [0; 4]).as_bytes(), sink)
    }

    /// Gives out a piece of text, behind the replacement of a half pair that is known to stand alone now.
    fn text(&mut self, piece: &[u8], sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        let mut give = |piece: &[u8]| match (piece.is_empty(), self.in_key) {
            (true, _) => Ok(()),
            (false, true) => sink(Token::KeyText(piece)),
            (false, false) => sink(Token::Text(piece)),
        };
        if self.surrogate.take().is_some() {
            give("\u{fffd}".as_bytes())?;
        }
        give(piece)
    }

    fn start_number(&mut self, byte: u8, place: Number) {
        self.number.clear();
        self.number.push(byte);
        self.state = State::Number(place);
    }

    fn in_number(
        &mut self,
        byte: u8,
        place: Number,
        sink: &mut impl FnMut(Token<'_>) -> Answer,
    ) -> Answer {
        if let Some(next) = place.next(byte) {
            self.state = State::Number(next);
            if self.number.len() < NUMBER_BYTES_MAX {
                self.number.push(byte);
            }
            return Ok(());
        }
        if !place.may_end() {
            return Err(unexpected(byte, place.context()));
        }
        self.end_number(sink)?;
        self.byte(byte, sink)
    }

    fn end_number(&mut self, sink: &mut impl FnMut(Token<'_>) -> Answer) -> Answer {
        self.state = State::After;
        sink(Token::Number(&self.number))
    }

    fn literal(
        &mut self,
        byte: u8,
        word: &'static str,
        at: usize,
        sink: &mut impl FnMut(Token<'_>) -> Answer,
    ) -> Answer {
        let expected = word.as_bytes().get(at).copied().unwrap_or(b'?');
        if byte != expected {
            let context = format!("in literal {word} (expecting '{}')", char::from(expected));
            return Err(unexpected(byte, &context));
        }
        if at + 1 < word.len() {
            self.state = State::Literal { word, at: at + 1 };
            return Ok(());
        }
        self.state = State::After;
        sink(if word == "null" {
            Token::Null
        } else {
            Token::Bool
        })
    }
}

/// Go's error for a byte that cannot stand here.
fn unexpected(byte: u8, context: &str) -> V0Error {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'"' => "\"".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0x07 => "\\a".to_owned(),
        0x08 => "\\b".to_owned(),
        0x0b => "\\v".to_owned(),
        0x0c => "\\f".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        0..0x20 | 0x7f => format!("\\x{byte:02x}"),
        0x80..0xa1 | 0xad => format!("\\u00{byte:02x}"),
        _ => char::from(byte).to_string(),
    };
    V0Error::Syntax(format!("invalid character '{shown}' {context}"))
}
