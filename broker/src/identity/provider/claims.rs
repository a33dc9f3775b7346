//! What a provider says of an account, and what follows from it here: pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::access::{Role, is_name};
use crate::config::Oidc;

/// OpenID Connect Core, section 2: a subject has at most 255 characters.
const SUBJECT_CHARS_MAX: usize = 255;

/// In more groups nobody is here.
const GROUPS_MAX: usize = 64;

/// The claims of a token that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// What the provider calls the account, for ever.
    pub subject: String,
    all: Map<String, Value>,
}

impl Claims {
    /// The claims of a token: only of one whose signature was checked.
    pub(super) fn of_checked(token: &str) -> Option<Self> {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        Self::of(serde_json::from_slice(&payload).ok()?)
    }

    fn of(all: Map<String, Value>) -> Option<Self> {
        let subject = all.get("sub")?.as_str()?.to_owned();
        let known = !subject.is_empty() && subject.chars().count() <= SUBJECT_CHARS_MAX;
        known.then_some(Self { subject, all })
    }

    /// What a new account is named after.
    pub fn name(&self, config: &Oidc) -> Option<&str> {
        self.all.get(&config.name_claim)?.as_str()
    }

    /// The groups, as far as they can be groups here: the provider may have others for others.
    pub fn groups(&self, config: &Oidc) -> Vec<String> {
        let told = self.all.get(&config.groups_claim);
        let mut groups: Vec<String> = match told {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(plain).collect(),
            Some(Value::String(group)) => vec![plain(group)],
            _ => Vec::new(),
        };
        groups.retain(|group| is_name(group));
        groups.sort_unstable();
        groups.dedup();
        groups.truncate(GROUPS_MAX);
        groups
    }

    /// The roles that `oidc.roles` gives to these groups.
    pub fn roles(&self, config: &Oidc) -> Vec<Role> {
        let groups = self.groups(config);
        let given = |line: &String| {
            let (group, role) = role_line(line)?;
            (group == "*" || groups.iter().any(|own| own == group)).then_some(role)
        };
        let mut roles: Vec<Role> = config.roles.iter().filter_map(given).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

/// Some providers write groups as paths, and with capitals.
fn plain(group: &str) -> String {
    group.trim_start_matches('/').to_lowercase()
}

/// Group and role of a line of `oidc.roles`: `GROUP=ROLE`.
pub fn role_line(line: &str) -> Option<(&str, Role)> {
    let (group, role) = line.split_once('=')?;
    let (group, role) = (group.trim(), role.trim().parse().ok()?);
    (group == "*" || is_name(group)).then_some((group, role))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(all: Value) -> Option<Claims> {
        let Value::Object(all) = all else { return None };
        Claims::of(all)
    }

    #[test]
    fn groups_and_roles_are_those_that_the_settings_name() {
        let roles = ["ops=operator", "it = admin", "*=watcher"].map(str::to_owned).to_vec();
        let config = Oidc { groups_claim: "groups".into(), roles, ..Oidc::default() };
        let told = |groups: Value| {
            let claims =
                claims(json!({ "sub": "1", "groups": groups, "preferred_username": "anna" })).unwrap();
            assert_eq!(claims.name(&config), Some("anna"));
            (claims.groups(&config).join(","), claims.roles(&config))
        };
        assert_eq!(
            told(json!(["Ops", "/ops", "a b", 7])),
            ("ops".into(), vec![Role::Operator, Role::Watcher])
        );
        assert_eq!(told(json!("it")), ("it".into(), vec![Role::Admin, Role::Watcher]));
        for none in [json!(null), json!({ "ops": true }), json!([])] {
            assert_eq!(told(none), (String::new(), vec![Role::Watcher]));
        }
        let many: Vec<String> = (0..200).map(|n| format!("g{n}")).collect();
        assert_eq!(told(json!(many)).0.split(',').count(), GROUPS_MAX);
        // Unless the settings name a claim, there are no groups; unless they give one, no roles.
        let claims = claims(json!({ "sub": "1", "groups": ["it"], "": ["it"] })).unwrap();
        assert_eq!(claims.roles(&Oidc::default()), vec![]);
    }

    #[test]
    fn a_subject_is_a_text_that_is_there() {
        for bad in [json!({}), json!({ "sub": 7 }), json!({ "sub": "" }), json!({ "sub": "x".repeat(256) })] {
            assert_eq!(claims(bad.clone()), None, "{bad}");
        }
        assert_eq!(claims(json!({ "sub": "x" })).unwrap().subject, "x");
        for bad in ["", "ops", "=admin", "ops=king", "a b=admin", "Ops=admin"] {
            assert!(role_line(bad).is_none(), "{bad}");
        }
    }
}
