//! Base64 that arrives in pieces, read as Go's standard decoder reads it: padding required, carriage returns and
//! line feeds skipped anywhere, trailing bits of the last digit ignored.

use super::V0Error;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

/// Padding is cut off here before a quantum gets to the engine.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Digits decoded in one go; any multiple of 4.
const BLOCK_DIGITS: usize = 4096;

/// Decodes digit by digit, with whole blocks taken at once where there is nothing to skip.
#[derive(Default)]
pub(super) struct Decoder {
    /// Digits of the current quantum, padding not among them.
    quantum: [u8; 4],
    digits: usize,
    /// Padding characters seen.
    padding: usize,
    /// Characters seen, skipped ones included: the position Go's errors name.
    position: u64,
}

impl Decoder {
    /// Takes the next characters and appends what they decode to.
    pub(super) fn push(&mut self, mut text: &[u8], out: &mut Vec<u8>) -> Result<(), V0Error> {
        while let Some((&first, rest)) = text.split_first() {
            if self.digits == 0 && self.padding == 0 {
                let taken = self.push_block(text, out);
                if taken > 0 {
                    text = &text[taken..];
                    continue;
                }
            }
            self.push_one(first, out)?;
            text = rest;
        }
        Ok(())
    }

    /// Ends the text: an error if a quantum is incomplete.
    pub(super) fn finish(&self) -> Result<(), V0Error> {
        match (self.digits, self.padding) {
            (0, 0) => Ok(()),
            (digits, padding) if padding > 0 && digits + padding == 4 => Ok(()),
            (digits, 0) => Err(V0Error::Base64(self.position - digits as u64)),
            _ => Err(V0Error::Base64(self.position)),
        }
    }

    /// Decodes the whole quanta of the plain digits at the front; 0 if there is not one.
    fn push_block(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        for block in text.chunks(BLOCK_DIGITS) {
            let plain = block
                .iter()
                .position(|c| !is_digit(*c))
                .unwrap_or(block.len());
            let (start, whole) = (out.len(), plain / 4 * 4);
            out.resize(start + whole / 4 * 3, 0);
            // Cannot fail on plain digits; if it did, they would be looked at one by one.
            if ENGINE
                .decode_slice(&block[..whole], &mut out[start..])
                .is_err()
            {
                out.truncate(start);
                break;
            }
            taken += whole;
            if whole < block.len() {
                break;
            }
        }
        self.position += taken as u64;
        taken
    }

    fn push_one(&mut self, character: u8, out: &mut Vec<u8>) -> Result<(), V0Error> {
        let at = self.position;
        self.position += 1;
        match character {
            b'\r' | b'\n' => Ok(()),
            b'=' if self.digits >= 2 && self.digits + self.padding < 4 => {
                self.padding += 1;
                if self.digits + self.padding == 4 {
                    self.emit(at, out)
                } else {
                    Ok(())
                }
            }
            digit if is_digit(digit) && self.padding == 0 => {
                self.quantum[self.digits] = digit;
                self.digits += 1;
                if self.digits < 4 {
                    return Ok(());
                }
                self.emit(at, out)?;
                self.digits = 0;
                Ok(())
            }
            // A second padding character was due: Go names the place before.
            _ if self.padding == 1 && self.digits == 2 => {
                Err(V0Error::Base64(at.saturating_sub(1)))
            }
            _ => Err(V0Error::Base64(at)),
        }
    }

    /// Decodes the quantum; its digits are in the alphabet, missing ones count as zero bits.
    fn emit(&mut self, at: u64, out: &mut Vec<u8>) -> Result<(), V0Error> {
        let mut quantum = [b'A'; 4];
        quantum[..self.digits].copy_from_slice(&self.quantum[..self.digits]);
        let mut bytes = [0; 3];
        ENGINE
            .decode_slice(quantum, &mut bytes)
            .map_err(|_| V0Error::Base64(at))?;
        out.extend_from_slice(&bytes[..self.digits - 1]);
        Ok(())
    }
}

/// Whether the character is of the standard alphabet.
const fn is_digit(character: u8) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::engine::general_purpose;
    use proptest::prelude::*;

    fn decode(text: &str, piece: usize) -> Result<Vec<u8>, V0Error> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            decoder.push(piece, &mut out)?;
        }
        decoder.finish().map(|()| out)
    }

    #[test]
    fn as_go_reads_it() {
        for (text, want) in [
            ("", ""),
            ("YQ==", "a"),
            ("YWI=", "ab"),
            ("YWJj", "abc"),
            ("Y\nQ\r=\n=\n", "a"),
            ("YR==", "a"),
            ("YWJ=", "ab"),
            ("\r\nYWJjZA==", "abcd"),
        ] {
            for piece in 1..9 {
                assert_eq!(decode(text, piece).unwrap(), want.as_bytes(), "{text:?}");
            }
        }
        for (text, at) in [
            ("YQ", 0),
            ("YQ=", 3),
            ("YWJjYQ", 4),
            ("=", 0),
            ("Y===", 1),
            ("YQ==YQ==", 4),
            ("YQ===", 4),
            ("YQ=a", 2),
            ("YW-_", 2),
            ("YWJj YWJj", 4),
            ("YWJjé", 4),
        ] {
            for piece in 1..9 {
                assert_eq!(decode(text, piece), Err(V0Error::Base64(at)), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn everything_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..9000), every in 1usize..100, piece in 1usize..10_000) {
            let text = general_purpose::STANDARD.encode(&bytes);
            prop_assert_eq!(&decode(&text, piece).unwrap(), &bytes);
            let broken: String = text.chars().enumerate()
                .flat_map(|(i, c)| (i % every == 0).then_some('\n').into_iter().chain([c])).collect();
            prop_assert_eq!(&decode(&broken, piece).unwrap(), &bytes);
        }
    }
}
