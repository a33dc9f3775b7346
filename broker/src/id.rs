//! Ids of people and of what they have, each with a type of its own so that two cannot be swapped: a
//! prefix and 80 random bits. They are no secrets.

use std::fmt;
use std::str::FromStr;

use moorline_wire::Code;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::secret;

/// How many characters of a-z and 2-7 (RFC 4648 base32, lower case) follow the prefix.
const LENGTH: usize = 16;

/// Text that is no id of that kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read an id that does not begin with {prefix} and go on with 16 characters of a-z, 2-7")]
pub struct BadId {
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// An id that nothing has.
            pub fn fresh() -> Result<Self, Problem> {
                fresh($prefix).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let rest = text.strip_prefix($prefix).ok_or(BadId { prefix: $prefix })?;
                let of_the_alphabet = rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
                if rest.len() == LENGTH && of_the_alphabet { Ok(Self(text.to_owned())) } else { Err(BadId { prefix: $prefix }) }
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
    )*};
}

ids! {
    /// One person.
    PersonId = "p-";
    /// One login of a person: a browser that has a cookie.
    LoginId = "l-";
    /// One API token.
    TokenId = "t-";
    /// One grant.
    GrantId = "g-";
    /// One install key.
    InstallKeyId = "k-";
}

fn fresh(prefix: &str) -> Result<String, Problem> {
    let bytes = secret::random::<10>().map_err(|err| Problem::new(Code::INTERNAL).because(err))?;
    Ok(format!("{prefix}{}", data_encoding::BASE32_NOPAD.encode(&*bytes).to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_id_is_one_of_its_kind_and_no_other() {
        let id = PersonId::fresh().unwrap();
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert!(id.as_str().parse::<GrantId>().is_err());
        assert_ne!(PersonId::fresh().unwrap(), id);
        for text in
            ["", "p-", "p-aaaaaaaaaaaaaaa", "p-aaaaaaaaaaaaaaa1", "p-aaaaaaaaaaaaaaaaa", "P-aaaaaaaaaaaaaaaa"]
        {
            assert!(text.parse::<PersonId>().is_err(), "{text:?}");
        }
    }
}
