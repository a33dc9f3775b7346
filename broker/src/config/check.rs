//! Relations between settings: what each value allows alone, but not together.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Loaded, Timing};
use crate::identity::role_line;

/// Refuses settings that contradict each other; the text names each key, its value and where it
/// comes from.
pub(super) fn relations(loaded: &Loaded) -> Result<(), String> {
    demo_is_loopback(loaded)?;
    tls(loaded)?;
    for (lower_key, lower, upper_key, upper) in ordered(&loaded.config.timing) {
        if lower >= upper {
            return Err(format!("{} must be less than {}.", loaded.told(lower_key), loaded.told(upper_key)));
        }
    }
    sessions(loaded)?;
    logins(loaded)?;
    provider(loaded)?;
    bounds(loaded)
}

/// What may be nothing: there is no such limit then.
const MAY_BE_NOTHING: [&str; 2] = ["timing.idle", "timing.session_max"];

/// How long sessions and their keepers are kept.
fn sessions(loaded: &Loaded) -> Result<(), String> {
    let (timing, keeper) = (&loaded.config.timing, &loaded.config.keeper);
    for (key, limit) in MAY_BE_NOTHING.into_iter().zip([timing.idle, timing.session_max]) {
        if !limit.is_zero() && timing.warning >= limit {
            return Err(format!("{} must be less than {}.", loaded.told("timing.warning"), loaded.told(key)));
        }
    }
    if timing.reattach_backoff > timing.reattach_backoff_max {
        return Err(format!(
            "{} must not be more than {}.",
            loaded.told("timing.reattach_backoff"),
            loaded.told("timing.reattach_backoff_max")
        ));
    }
    if timing.adrift_for > keeper.orphaned_for {
        return Err(format!(
            "{} must not be more than {}: it would be waited for a shell that its keeper has ended.",
            loaded.told("timing.adrift_for"),
            loaded.told("keeper.orphaned_for")
        ));
    }
    if loaded.config.limits.window > keeper.ring {
        return Err(format!(
            "{} must not be more than {}: a viewer is sent again from the ring.",
            loaded.told("limits.window"),
            loaded.told("keeper.ring")
        ));
    }
    Ok(())
}

/// How long logins last, and how often they are looked at.
fn logins(loaded: &Loaded) -> Result<(), String> {
    let login = &loaded.config.login;
    let ordered = [
        ("login.lockout", login.lockout, "login.lockout_max", login.lockout_max),
        ("login.check", login.check, "login.idle", login.idle),
        ("login.idle", login.idle, "login.lasts", login.lasts),
    ];
    for (lower_key, lower, upper_key, upper) in ordered {
        if lower > upper {
            let (lower, upper) = (loaded.told(lower_key), loaded.told(upper_key));
            return Err(format!("{lower} must not be more than {upper}."));
        }
    }
    if login.check > Duration::from_secs(60) {
        return Err(format!("{} must not be more than 1m.", loaded.told("login.check")));
    }
    Ok(())
}

/// A login provider is asked over https, or on the broker's own machine, and roles are given by lines that can be read.
fn provider(loaded: &Loaded) -> Result<(), String> {
    let oidc = &loaded.config.oidc;
    if let Some(line) = oidc.roles.iter().find(|line| role_line(line).is_none()) {
        let roles = loaded.told("oidc.roles");
        return Err(format!("{roles} has {line:?}, but GROUP=ROLE is expected, like \"ops=operator\"."));
    }
    if oidc.issuer.is_empty() {
        return Ok(());
    }
    if !(oidc.issuer.starts_with("https://") || is_on_own_machine(&oidc.issuer)) {
        return Err(format!("{} must be an address of https://.", loaded.told("oidc.issuer")));
    }
    if oidc.client_id.is_empty() {
        return Err(format!("{} needs oidc.client_id.", loaded.told("oidc.issuer")));
    }
    Ok(())
}

/// A certificate and its key come together.
fn tls(loaded: &Loaded) -> Result<(), String> {
    let tls = &loaded.config.tls;
    let (missing, there) = match (&tls.certificate_file, &tls.key_file) {
        (None, Some(_)) => ("tls.certificate_file", "tls.key_file"),
        (Some(_), None) => ("tls.key_file", "tls.certificate_file"),
        _ => return Ok(()),
    };
    Err(format!("{} needs {}, too.", loaded.told(there), loaded.told(missing)))
}

/// An address over plain http that no network sees.
fn is_on_own_machine(address: &str) -> bool {
    let place = address.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let with_port = place.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let host = with_port.map_or(place, |(host, _)| host);
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Each pair: the first must be less than the second.
fn ordered(timing: &Timing) -> Vec<(&'static str, Duration, &'static str, Duration)> {
    macro_rules! pairs {
        ($($lower:ident < $upper:ident,)*) => {
            vec![$((
                concat!("timing.", stringify!($lower)),
                timing.$lower,
                concat!("timing.", stringify!($upper)),
                timing.$upper,
            )),*]
        };
    }
    pairs![
        link_ping < link_unstable,
        link_unstable < link_dead,
        link_dead < link_resume_within,
        user_ping < user_dead,
        viewer_ping < viewer_dead,
        ssh_channel < ssh_handshake,
        ssh_auth < ssh_handshake,
        ssh_handshake < certificate,
        restart_backoff < restart_window,
    ]
}

fn demo_is_loopback(loaded: &Loaded) -> Result<(), String> {
    let config = &loaded.config;
    if config.demo && !config.listen.ip().is_loopback() {
        return Err(format!(
            "{} gives everyone who reaches the broker a shell without a login, so {} must be a loopback address \
             such as 127.0.0.1:8080.",
            loaded.told("demo"),
            loaded.told("listen")
        ));
    }
    Ok(())
}

fn bounds(loaded: &Loaded) -> Result<(), String> {
    let config = &loaded.config;
    // A zero in these sections is a wait that is over at once, or a thing that never fits.
    let (timing, limits, keeper) = (config.timing.shown(), config.limits.shown(), config.keeper.shown());
    for (key, value) in
        timing.into_iter().chain(limits).chain(keeper).chain(config.login.shown()).chain(config.tls.shown())
    {
        if !MAY_BE_NOTHING.contains(&key) && matches!(value.as_str(), "0" | "\"0s\"" | "\"0B\"") {
            return Err(format!("{} must be more than nothing.", loaded.told(key)));
        }
    }
    // actix-http reckons from a clock that it reads twice a second: less would refuse good requests.
    if config.timing.http_header < Duration::from_secs(1) {
        return Err(format!("{} must be at least 1s.", loaded.told("timing.http_header")));
    }
    if config.timing.certificate > Duration::from_secs(300) {
        return Err(format!("{} must not be more than 5m.", loaded.told("timing.certificate")));
    }
    // A keeper is told in whole seconds, and in bytes that fit 32 bits.
    if config.keeper.orphaned_for < Duration::from_secs(1) {
        return Err(format!("{} must be at least 1s.", loaded.told("keeper.orphaned_for")));
    }
    if u32::try_from(config.keeper.ring.bytes()).is_err() {
        return Err(format!("{} must be less than 4GiB.", loaded.told("keeper.ring")));
    }
    if config.limits.window > config.limits.ring {
        return Err(format!(
            "{} must not be more than {}: a viewer is sent again from the ring.",
            loaded.told("limits.window"),
            loaded.told("limits.ring")
        ));
    }
    if config.name.is_empty() || config.name.len() > 64 || config.name.chars().any(char::is_control) {
        return Err(format!("{} must have 1 to 64 printable characters.", loaded.told("name")));
    }
    Ok(())
}
