//! The types that a setting may have: each is read from text or a TOML value, and shown as TOML.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::identity::Secret;

use super::network::Network;
use super::{EnrollMode, LogFormat, LoginWith, Overflow, TlsVersion, Totp};

/// A value as a layer gave it.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    /// From the environment or `--set`, or a text, number or truth value of a file.
    Text(String),
    /// A list of a file.
    List(Vec<String>),
}

impl Raw {
    /// A value that was given as text.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A value that stands in a file.
    pub(super) fn of_file(value: &toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(text) => Ok(Self::Text(text.clone())),
            toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => {
                Ok(Self::Text(value.to_string()))
            }
            toml::Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or("a list holds texts only".to_owned()))
                .collect::<Result<_, _>>()
                .map(Self::List),
            _ => Err("is not a value that a setting can have".to_owned()),
        }
    }
}

/// A type that a setting may have.
pub(super) trait Setting: Sized {
    /// Reads it from text; the error says what is expected.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads it from what a layer gave.
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) => Self::from_text(text.trim()),
            Raw::List(_) => Err("is a list, but one value is expected".to_owned()),
        }
    }

    /// Shows it as a TOML file has it.
    fn show(&self) -> String;
}

/// A text as TOML has it.
fn quoted(text: impl Into<String>) -> String {
    toml::Value::String(text.into()).to_string()
}

impl Setting for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Setting for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be true or false".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                text.replace('_', "").parse().map_err(|_| "must be a whole number".to_owned())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_number!(usize, u32);

impl Setting for SocketAddr {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "must be an address and a port, like 127.0.0.1:8080 or [::1]:8080".to_owned())
    }

    fn show(&self) -> String {
        quoted(self.to_string())
    }
}

impl Setting for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("must be a path".to_owned()) } else { Ok(text.into()) }
    }

    fn show(&self) -> String {
        quoted(self.to_string_lossy())
    }
}

impl Setting for Option<PathBuf> {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| text.into()))
    }

    fn show(&self) -> String {
        quoted(self.as_deref().unwrap_or("".as_ref()).to_string_lossy())
    }
}

impl Setting for Duration {
    fn from_text(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map_err(|_| "must be a time with its unit, like 250ms, 30s or 10m".to_owned())
    }

    fn show(&self) -> String {
        quoted(humantime::format_duration(*self).to_string())
    }
}

impl Setting for Vec<String> {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) => Self::from_text(text),
            Raw::List(items) => Ok(items.clone()),
        }
    }

    fn show(&self) -> String {
        toml::Value::from(self.clone()).to_string()
    }
}

impl Setting for Vec<Network> {
    fn from_text(text: &str) -> Result<Self, String> {
        Vec::<String>::from_text(text)?.iter().map(|part| part.parse()).collect()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        Vec::<String>::read(raw)?.iter().map(|part| part.parse()).collect()
    }

    fn show(&self) -> String {
        let shown: Vec<String> = self.iter().map(ToString::to_string).collect();
        shown.show()
    }
}

/// A number of bytes, written with its unit: `"64KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(usize);

impl ByteSize {
    /// The units, the largest first.
    const UNITS: [(&'static str, usize); 4] =
        [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

    /// The number of bytes.
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl Setting for ByteSize {
    fn from_text(text: &str) -> Result<Self, String> {
        let parsed = Self::UNITS.iter().find_map(|(unit, factor)| {
            let number: usize = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(*factor)
        });
        parsed.map(Self).ok_or("must be a size with its unit, like 64KiB or 4MiB".to_owned())
    }

    fn show(&self) -> String {
        let (unit, factor) = Self::UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        quoted(format!("{}{unit}", self.0 / factor))
    }
}

/// Settings that take one of a few words.
macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),* }) => {
        impl $type {
            /// The word for it.
            fn as_word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl Setting for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("must be one of: {}", [$($word),*].join(", "))),
                }
            }

            fn show(&self) -> String {
                quoted(self.as_word())
            }
        }
    };
}

words!(EnrollMode { "automatic" => Automatic, "closed" => Closed });
words!(Totp { "optional" => Optional, "required" => Required });
words!(TlsVersion { "1.2" => Tls12, "1.3" => Tls13 });
words!(LoginWith { "certificate" => Certificate, "certificate_then_key" => CertificateThenKey, "key" => Key });
words!(Overflow { "continue" => Continue, "hold" => Hold });
words!(LogFormat { "auto" => Auto, "pretty" => Pretty, "json" => Json });

impl LoginWith {
    /// The word for it, which a device's own choice is kept as.
    pub fn word(self) -> &'static str {
        self.as_word()
    }

    /// What the word means; the error says which there are.
    pub fn of_word(word: &str) -> Result<Self, String> {
        Self::from_text(word)
    }
}

/// A secret of the environment: `--check` says that there is one, and not which.
impl Setting for Secret {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::new(text.to_owned()))
    }

    fn show(&self) -> String {
        quoted(if self.reveal().is_empty() { "" } else { "(hidden)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_and_shown_with_its_unit() {
        for (text, bytes) in [("64KiB", 65536), ("4MiB", 4 << 20), ("1500B", 1500), ("0B", 0)] {
            let size = ByteSize::from_text(text).unwrap();
            assert_eq!((size.bytes(), size.show()), (bytes, format!("{text:?}")));
        }
        for text in ["64", "64kb", "-1KiB", "99999999999999999999GiB", "18446744073709551615GiB", ""] {
            assert!(ByteSize::from_text(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        assert!(Duration::from_text("30").is_err());
        assert_eq!(Duration::from_text("90s").unwrap().show(), "\"1m 30s\"");
    }
}
