//! Codes of an authenticator (RFC 6238: HMAC-SHA-1, six digits, a new one every 30 seconds): pure, without IO
//! and clock.
//!
//! SHA-1 is what every authenticator speaks; its broken collision resistance is not what an HMAC needs
//! (RFC 6194, section 3.3).

use data_encoding::BASE32_NOPAD;
use ring::hmac;
use zeroize::Zeroizing;

/// Bytes of a secret: as many as the hash has (RFC 4226, section 4, R6).
pub const SECRET_BYTES: usize = 20;

/// How long one code is shown.
const STEP_S: i64 = 30;

const DIGITS: usize = 6;

/// A code is good one step before and after its own: clocks differ, and people type.
const WINDOW: i64 = 1;

/// The step at which that code is shown, around this time; `None`: at none of them. Every step is reckoned and
/// compared, whichever it is.
pub fn step_of(secret: &[u8], code: &str, now: jiff::Timestamp) -> Option<i64> {
    let current = now.as_second().div_euclid(STEP_S);
    let mut found = None;
    for step in current - WINDOW..=current + WINDOW {
        if equal(code_at(secret, step).as_bytes(), code.as_bytes()) {
            found = Some(step);
        }
    }
    found
}

/// The code of a step.
pub fn code_at(secret: &[u8], step: i64) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    // RFC 4226, section 5.3: the last four bits say where the 31 bits are taken from.
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 0xf);
    let number = u32::from_be_bytes([tag[at], tag[at + 1], tag[at + 2], tag[at + 3]]) & 0x7fff_ffff;
    Zeroizing::new(format!("{:0DIGITS$}", number % 10_u32.pow(DIGITS as u32)))
}

/// Takes the same time wherever the first difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The secret as people type it.
pub fn text_of(secret: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE32_NOPAD.encode(secret))
}

/// What an authenticator reads from a picture
/// (<https://github.com/google/google-authenticator/wiki/Key-Uri-Format>). Names of brokers are free text.
pub fn uri_of(secret: &[u8], broker: &str, account: &str) -> Zeroizing<String> {
    let (broker, account) = (escaped(broker), escaped(account));
    let secret = text_of(secret);
    Zeroizing::new(format!(
        "otpauth://totp/{broker}:{account}?secret={}&issuer={broker}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}",
        *secret
    ))
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            escaped + char::from(byte).encode_utf8(&mut [0; 4])
        }
        _ => escaped + &format!("%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_codes_are_those_of_the_standard() {
        // Appendix B has eight digits: these are the last six.
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(*code_at(SECRET, second / 30), code);
            assert_eq!(step_of(SECRET, code, at(second)), Some(second / 30));
        }
    }

    #[test]
    fn a_code_is_good_one_step_around_its_own_and_not_longer() {
        let code = code_at(SECRET, 100);
        for (second, good) in [(2969, false), (2970, true), (3000, true), (3059, true), (3060, false)] {
            assert_eq!(step_of(SECRET, &code, at(second)).is_some(), good, "{second}");
        }
        for bad in ["", "0", "28708", "2870822", "０００000", "abcdef"] {
            assert_eq!(step_of(SECRET, bad, at(59)), None, "{bad}");
        }
    }

    #[test]
    fn an_authenticator_is_told_everything_in_one_line() {
        let uri = uri_of(SECRET, "Mo or:line", "anna+x");
        assert_eq!(
            *uri,
            "otpauth://totp/Mo%20or%3Aline:anna%2Bx?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Mo%20or%3Aline&algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(text_of(SECRET).len(), 32);
    }
}
