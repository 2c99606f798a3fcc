//! When a certificate ends: the one date of X.509 that a check needs, read without a parser for the rest.

use chrono::{DateTime, NaiveDateTime, Utc};

/// Days until the certificate (DER) expires; negative when it has expired.
pub(crate) fn certificate_days_left(der: &[u8]) -> Option<f64> {
    let end = not_after(der)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds of a few decades are exact")]
    let days = (end - Utc::now()).num_seconds() as f64 / 86_400.0;
    Some(days)
}

fn not_after(der: &[u8]) -> Option<DateTime<Utc>> {
    let (_, certificate, _) = element(der)?;
    let (_, body, _) = element(certificate)?;
    let (tag, _, after_version) = element(body)?;
    // The version field is absent in certificates of version 1.
    let rest = if tag == 0xa0 { after_version } else { body };
    let (_, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (_, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    let text = std::str::from_utf8(time).ok()?;
    let (text, form) = match tag {
        // A two-digit year of 50 and above belongs to the last century (RFC 5280).
        0x17 => {
            let year: u32 = text.get(..2)?.parse().ok()?;
            (format!("{}{text}", if year >= 50 { "19" } else { "20" }), "%Y%m%d%H%M%SZ")
        }
        0x18 => (text.to_owned(), "%Y%m%d%H%M%SZ"),
        _ => return None,
    };
    NaiveDateTime::parse_from_str(&text, form).ok().map(|time| time.and_utc())
}

/// Splits a DER element into its tag, its content and the bytes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let bytes = rest.get(..usize::from(first & 0x7f)).filter(|bytes| bytes.len() <= 4)?;
        let length = bytes.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        (length, rest.get(bytes.len()..)?)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for (year, far) in [(2030, false), (2060, true)] {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 3, 4);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let end = not_after(certificate.der()).unwrap();
            assert_eq!(end.date_naive().to_string(), format!("{year}-03-04"), "generalized time: {far}");
        }
    }

    #[test]
    fn noise_is_no_certificate() {
        for noise in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", &[0x30; 64]] {
            assert_eq!(not_after(noise), None);
        }
    }
}
