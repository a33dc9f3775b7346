//! The ids, each with a type of its own so that two cannot be swapped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An id that is not of its kind's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read an id that is not of the form {form}")]
pub struct BadId {
    form: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $length:literal, $form:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &str = $prefix;
            /// How many characters of a-z and 2-7 (RFC 4648 base32, lower case) follow the prefix.
            pub const LENGTH: usize = $length;

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let rest = text.strip_prefix(Self::PREFIX).ok_or(BadId { form: $form })?;
                let of_the_alphabet = rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
                if rest.len() != Self::LENGTH || !of_the_alphabet {
                    return Err(BadId { form: $form });
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;

            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// One device: base32 of the first 80 bits of the SHA-256 of its Ed25519 public key, so that
    /// an id cannot be claimed without the key.
    DeviceId, "d-", 16, "d- and 16 characters of a-z, 2-7"
);

text_id!(
    /// One session: 130 random bits.
    SessionId, "s-", 26, "s- and 26 characters of a-z, 2-7"
);

/// One byte stream inside a link. The broker numbers them from 1 and never uses a number twice
/// within a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_form_is_refused() {
        for text in [
            "",
            "d-",
            "s-abcdefghijklmnop",
            "d-abcdefghijklmno1",
            "d-ABCDEFGHIJKLMNOP",
            "d-abcdefghijklmnopq",
        ] {
            assert!(text.parse::<DeviceId>().is_err(), "{text:?} was taken");
        }
        assert_eq!(
            "d-abcdefghijklmnop".parse::<DeviceId>().map(String::from),
            Ok("d-abcdefghijklmnop".to_owned())
        );
    }
}
