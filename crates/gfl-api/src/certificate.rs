//! What a TLS certificate tells without being trusted: its SHA-256 fingerprint and how long it is valid.
//!
//! Reads just enough DER (X.690) of a certificate (RFC 5280 section 4.1) for the two dates; signatures, names and
//! trust are the TLS library's business.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use std::fmt;

/// The SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Reads 64 hex digits in either case. Colons between them, and what OpenSSL and others write in front, may
    /// stand there too.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = match text.rsplit_once('=') {
            Some((_, digits)) => digits,
            None => text
                .strip_prefix("sha256:")
                .or_else(|| text.strip_prefix("SHA256:"))
                .unwrap_or(text),
        };
        let digits: String = digits.chars().filter(|c| !":- ".contains(*c)).collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before_s: i64,
    /// The last second.
    pub not_after_s: i64,
}

impl Validity {
    /// Of a certificate in DER. `None` if it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let mut certificate = Der(der).enter(SEQUENCE)?;
        let mut fields = certificate.enter(SEQUENCE)?;
        // The version is there in every certificate with extensions, and left out in very old ones.
        if fields.0.first() == Some(&VERSION) {
            fields.skip()?;
        }
        for _ in ["serial number", "signature algorithm", "issuer"] {
            fields.skip()?;
        }
        let mut validity = fields.enter(SEQUENCE)?;
        Some(Self {
            not_before_s: validity.time()?,
            not_after_s: validity.time()?,
        })
    }

    /// Whether the last second has passed.
    pub fn is_over(&self, now_s: i64) -> bool {
        now_s > self.not_after_s
    }

    /// Whether the first second is still to come.
    pub fn is_early(&self, now_s: i64) -> bool {
        now_s < self.not_before_s
    }

    /// Whole days until the end; negative afterwards.
    pub fn days_left(&self, now_s: i64) -> i64 {
        (self.not_after_s - now_s).div_euclid(24 * 60 * 60)
    }
}

/// The day, as in 2027-11-22.
pub fn day(at_s: i64) -> String {
    match jiff::Timestamp::from_second(at_s) {
        Ok(at) => at.to_zoned(TimeZone::UTC).date().to_string(),
        Err(_) => "a day that no calendar has".to_owned(),
    }
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The rest of a DER encoding.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value with its tag.
    fn value(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Longer lengths than four bytes are longer than any certificate.
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = digits
                    .iter()
                    .fold(0, |len: usize, d| (len << 8) | usize::from(*d));
                (len, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn skip(&mut self) -> Option<()> {
        self.value().map(|_| ())
    }

    fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.value()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| Der(content))
    }

    /// A date as RFC 5280 section 4.1.2.5 allows it: with seconds, in UTC.
    fn time(&mut self) -> Option<i64> {
        let (tag, content) = self.value()?;
        let digits = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
        let whole = match tag {
            UTC_TIME if digits.len() == 12 => {
                let century = if digits < "50" { "20" } else { "19" };
                format!("{century}{digits}")
            }
            GENERALIZED_TIME if digits.len() == 14 => digits.to_owned(),
            _ => return None,
        };
        let at = DateTime::strptime("%Y%m%d%H%M%S", &whole).ok()?;
        Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ca -selfsign -startdate 20250102030405Z -enddate 20600708091011Z`, so that one date is a
    /// UTCTime and the other a GeneralizedTime.
    const CERTIFICATE: &str = include_str!("certificate/test.hex");

    #[test]
    fn fingerprints_as_openssl_writes_them() {
        let der = hex::decode(CERTIFICATE.trim()).unwrap();
        let fingerprint = Fingerprint::of(&der);
        let openssl = include_str!("certificate/test.fingerprint").trim();
        assert_eq!(Fingerprint::parse(openssl), Some(fingerprint));
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 64);
        for form in [
            text.clone(),
            text.to_uppercase(),
            format!("sha256:{text}"),
            format!(" {text}\n"),
        ] {
            assert_eq!(Fingerprint::parse(&form), Some(fingerprint), "{form}");
        }
        for bad in ["", "ab", &text[1..], &format!("{text}0"), &"g".repeat(64)] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_of_both_kinds() {
        let der = hex::decode(CERTIFICATE.trim()).unwrap();
        let validity = Validity::of(&der).unwrap();
        assert_eq!(validity.not_before_s, 1_735_787_045);
        assert_eq!(validity.not_after_s, 2_856_503_411);
        assert_eq!(day(validity.not_before_s), "2025-01-02");
        assert_eq!(day(validity.not_after_s), "2060-07-08");
        let (first, last) = (validity.not_before_s, validity.not_after_s);
        assert!(validity.is_early(first - 1) && !validity.is_early(first));
        assert!(!validity.is_over(last) && validity.is_over(last + 1));
        assert_eq!(validity.days_left(last - 24 * 60 * 60), 1);
        assert_eq!(validity.days_left(last + 1), -1);
    }

    #[test]
    fn anything_else_is_no_certificate() {
        let der = hex::decode(CERTIFICATE.trim()).unwrap();
        for len in 0..der.len() {
            assert_eq!(Validity::of(&der[..len]), None, "{len} bytes");
        }
        for bad in [
            &b"not a certificate"[..],
            &[0x30, 0x80],
            &[0x30, 0x84, 0xff],
        ] {
            assert_eq!(Validity::of(bad), None);
        }
    }
}
