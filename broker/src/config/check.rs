//! Relations between settings: what each value allows alone, but not together.

use std::time::Duration;

use super::{Config, Timing};

/// Refuses settings that contradict each other; the text names both keys and values.
pub(super) fn relations(config: &Config) -> Result<(), String> {
    demo_is_loopback(config)?;
    for (lower_key, lower, upper_key, upper) in ordered(&config.timing) {
        if lower >= upper {
            return Err(format!(
                "timing.{lower_key} = {} must be less than timing.{upper_key} = {}.",
                humantime::format_duration(lower),
                humantime::format_duration(upper)
            ));
        }
    }
    bounds(config)
}

/// Each pair: the first must be less than the second.
fn ordered(timing: &Timing) -> Vec<(&'static str, Duration, &'static str, Duration)> {
    macro_rules! pairs {
        ($($lower:ident < $upper:ident,)*) => {
            vec![$((stringify!($lower), timing.$lower, stringify!($upper), timing.$upper)),*]
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

fn demo_is_loopback(config: &Config) -> Result<(), String> {
    if config.demo && !config.listen.ip().is_loopback() {
        return Err(format!(
            "demo = true gives everyone who reaches the broker a shell without a login, so listen = {} must be \
             a loopback address such as 127.0.0.1:8080.",
            config.listen
        ));
    }
    Ok(())
}

fn bounds(config: &Config) -> Result<(), String> {
    // A zero in either section is a wait that is over at once, or a thing that never fits.
    for (key, value) in config.timing.shown() {
        if value == "\"0s\"" {
            return Err(format!("{key} = 0s must be more than nothing."));
        }
    }
    for (key, value) in config.limits.shown() {
        if matches!(value.as_str(), "0" | "\"0B\"") {
            return Err(format!("{key} = {} must be at least 1.", value.trim_matches('"')));
        }
    }
    if config.timing.certificate > Duration::from_secs(300) {
        return Err(format!(
            "timing.certificate = {} must not be more than 5m.",
            humantime::format_duration(config.timing.certificate)
        ));
    }
    let (window, ring) = (config.limits.window, config.limits.ring);
    if window > ring {
        return Err(format!(
            "limits.window = {} bytes must not be more than limits.ring = {} bytes: a viewer is sent again from the ring.",
            window.bytes(),
            ring.bytes()
        ));
    }
    if config.name.is_empty() || config.name.len() > 64 || config.name.chars().any(char::is_control) {
        return Err(format!("name = {:?} must have 1 to 64 printable characters.", config.name));
    }
    Ok(())
}
