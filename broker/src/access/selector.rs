//! Which devices a grant is about, and as which logins.

use std::fmt;
use std::str::FromStr;

use moorline_wire::DeviceId;

/// A word that administrators put on a device: `lab`, `env=prod`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// Text that is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no tag: 1 to 64 of a-z, 0-9 and ._:/=- are expected, with a letter or digit first")]
pub struct NotATag;

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let plain = |c: char| letter(c) || "._:/=-".contains(c);
        let is_tag = (1..=64).contains(&text.len())
            && text.starts_with(letter)
            && text.chars().all(plain)
            // What looks like a device's id would be taken for one.
            && text.parse::<DeviceId>().is_err();
        if is_tag { Ok(Self(text.to_owned())) } else { Err(NotATag) }
    }
}

/// Which devices: `*`, or terms of which each must hold: `lab`, `lab,!prod`, `d-abcdefghijklmnop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Has(Tag),
    HasNot(Tag),
    Is(DeviceId),
}

/// Text that selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it does not say which devices: * or tags and ids with commas between are expected, e.g. lab,!prod")]
pub struct NotASelector;

/// A selector with more terms is a mistake.
const TERMS_MAX: usize = 32;

impl Selector {
    /// Whether a device is meant.
    pub fn matches(&self, device: &DeviceId, tags: &[Tag]) -> bool {
        self.0.iter().all(|term| match term {
            Term::Has(tag) => tags.contains(tag),
            Term::HasNot(tag) => !tags.contains(tag),
            Term::Is(id) => id == device,
        })
    }
}

impl FromStr for Selector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, NotASelector> {
        // That a grant is for every device is said, and not what an empty text happens to mean.
        if text.trim() == "*" {
            return Ok(Self(Vec::new()));
        }
        let term = |text: &str| match text.strip_prefix('!') {
            Some(tag) => tag.parse().map(Term::HasNot).map_err(|_| NotASelector),
            None => text
                .parse()
                .map(Term::Is)
                .or_else(|_| text.parse().map(Term::Has))
                .map_err(|_: NotATag| NotASelector),
        };
        let terms: Vec<Term> = text.split(',').map(|text| term(text.trim())).collect::<Result<_, _>>()?;
        if terms.len() > TERMS_MAX { Err(NotASelector) } else { Ok(Self(terms)) }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = self.0.iter().map(|term| match term {
            Term::Has(tag) => tag.0.clone(),
            Term::HasNot(tag) => format!("!{}", tag.0),
            Term::Is(id) => id.to_string(),
        });
        let terms: Vec<String> = terms.collect();
        f.write_str(if terms.is_empty() { "*".to_owned() } else { terms.join(",") }.as_str())
    }
}

/// As which logins: `*`, or names with commas between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logins {
    /// Every login, root as well.
    Any,
    /// These.
    These(Vec<String>),
}

/// Text that names no logins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it does not say which logins: * or names with commas between are expected")]
pub struct NotLogins;

impl Logins {
    /// Whether a login is among them.
    pub fn contain(&self, login: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(names) => names.iter().any(|name| name == login),
        }
    }
}

impl FromStr for Logins {
    type Err = NotLogins;

    fn from_str(text: &str) -> Result<Self, NotLogins> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let good = names.len() <= TERMS_MAX && names.iter().all(|name| is_login(name));
        if good { Ok(Self::These(names.into_iter().map(str::to_owned).collect())) } else { Err(NotLogins) }
    }
}

impl fmt::Display for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::These(names) => f.write_str(&names.join(",")),
        }
    }
}

/// Whether this can be a login of a device.
pub fn is_login(login: &str) -> bool {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !":/,*".contains(c);
    (1..=64).contains(&login.len()) && !login.starts_with('-') && login.chars().all(plain)
}
