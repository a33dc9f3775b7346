//! The form of an install key of the broker's list: `mli_`, 16 characters that name it, `_`, and its secret.
//!
//! The secret is never said in a greeting, nor kept by the broker. Two keys are made from it, each the
//! SHA-256 of a domain string and the secret's text:
//!
//! - with [`OF_THE_DEVICE`] the seed of an Ed25519 key: the device signs with it, the broker keeps its public half
//! - with [`OF_THE_BROKER`] a key for HMAC-SHA-256: with it the broker proves itself, and its CA, to the device
//!
//! So whoever reads the broker's store can enrol no device with what stands there.

/// How an install key begins.
pub const PREFIX: &str = "mli_";

/// How its id begins.
pub const ID_PREFIX: &str = "k-";

/// The domain string of the key with which a device proves itself.
pub const OF_THE_DEVICE: &str = "moorline.install-key.v1 device ";

/// The domain string of the key with which the broker does.
pub const OF_THE_BROKER: &str = "moorline.install-key.v1 broker ";

/// How many characters of a-z and 2-7 an id has after its prefix.
const ID_LENGTH: usize = 16;

/// 256 bits in base64 for URLs, without padding.
const SECRET_LENGTH: usize = 43;

/// The id and the secret of an install key; `None`, if the text is none.
pub fn parts(text: &str) -> Option<(String, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    let of_the_alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_secret = secret.len() == SECRET_LENGTH && secret.bytes().all(of_the_alphabet);
    (is_id && is_secret).then(|| (format!("{ID_PREFIX}{id}"), secret))
}

/// The install key of that id and secret, as it is shown once.
pub fn text(id: &str, secret: &str) -> String {
    format!("{PREFIX}{}_{secret}", id.strip_prefix(ID_PREFIX).unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_key_is_read_as_it_was_written_and_nothing_else_is_one() {
        let secret = "_".repeat(SECRET_LENGTH);
        let key = text("k-abcdefghijklmnop", &secret);
        assert_eq!(parts(&key), Some(("k-abcdefghijklmnop".to_owned(), &*secret)));
        for wrong in [
            "",
            "mli_",
            "mli_abcdefghijklmnop",
            &key[1..],
            &key[..key.len() - 1],
            &format!("{key}a"),
            &format!("{key}\n"),
            &key.replace("abc", "ABC"),
            &key.replace("mli_", "mlt_"),
        ] {
            assert_eq!(parts(wrong), None, "{wrong:?}");
        }
    }
}
