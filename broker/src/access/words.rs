//! Roles, acts and scopes, each by its name: in the API, in the store and in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is none of the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of: {expected}")]
pub struct NoSuchWord {
    word: String,
    expected: String,
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $doc])* $variant,)* }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl FromStr for $name {
            type Err = NoSuchWord;

            fn from_str(text: &str) -> Result<Self, NoSuchWord> {
                Self::ALL.iter().copied().find(|known| known.word() == text).ok_or_else(|| NoSuchWord {
                    word: text.chars().filter(|c| !c.is_control()).take(32).collect(),
                    expected: [$($word),*].join(", "),
                })
            }
        }
    };
}

words! {
    /// The most that a person can be given.
    Role {
        /// Everything, everywhere, without a grant.
        Admin = "admin",
        /// Whatever grants give.
        Operator = "operator",
        /// Of what grants give: looking only.
        Watcher = "watcher",
    }
}

words! {
    /// What can be done on a device.
    Act {
        /// Open a shell.
        Shell = "shell",
        /// Run a command.
        Exec = "exec",
        /// Read and write files.
        Files = "files",
        /// Reach what the device can reach.
        Forward = "forward",
        /// Look at the sessions of others.
        Watch = "watch",
        /// End the sessions of others.
        Kill = "kill",
        /// Rename and forget the device.
        Manage = "manage",
    }
}

impl Act {
    /// Whether it is done as some login of the device.
    pub fn concerns_login(self) -> bool {
        self != Self::Manage
    }
}

impl Role {
    /// Whether a grant can give this to somebody of this role.
    pub fn can_be_given(self, act: Act) -> bool {
        match self {
            Self::Admin | Self::Operator => true,
            Self::Watcher => act == Act::Watch,
        }
    }
}

/// What an API token is for. Whatever its scopes, it sees the devices and sessions that its owner sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// An act on devices.
    Act(Act),
    /// What administrators do: people, grants, tags.
    Admin,
}

impl Scope {
    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Act(act) => act.word(),
            Self::Admin => Role::Admin.word(),
        }
    }
}

impl FromStr for Scope {
    type Err = NoSuchWord;

    fn from_str(text: &str) -> Result<Self, NoSuchWord> {
        if text == Self::Admin.word() { Ok(Self::Admin) } else { text.parse().map(Self::Act) }
    }
}

/// To whom something is given: `person:anna`, `group:night`, `role:operator`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// To one person.
    Person(String),
    /// To the members of a group.
    Group(String),
    /// To everybody of that role.
    Role(Role),
}

/// Text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it does not say to whom: person:NAME, group:NAME or role:ROLE is expected")]
pub struct NotAWho;

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => write!(f, "person:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Role(role) => write!(f, "role:{}", role.word()),
        }
    }
}

impl FromStr for Who {
    type Err = NotAWho;

    fn from_str(text: &str) -> Result<Self, NotAWho> {
        let (kind, name) = text.split_once(':').ok_or(NotAWho)?;
        let named = is_name(name).then(|| name.to_owned()).ok_or(NotAWho);
        match kind {
            "person" => named.map(Self::Person),
            "group" => named.map(Self::Group),
            "role" => name.parse().map(Self::Role).map_err(|_| NotAWho),
            _ => Err(NotAWho),
        }
    }
}

/// Whether this can be the name of a person or a group: there is one way to write it, and it means nothing
/// special anywhere.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._@+-".contains(c);
    (1..=64).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(Role Act Scope);
