//! What of the settings concerns a session.

use std::time::Duration;

use moorline_wire::keep::Create;
use moorline_wire::term::{HostConfig, Size};

use super::house::House;
use super::state::{AgeLimits, Limits};
use crate::config::{Config, Overflow};

/// The limits of its machine.
pub fn limits(config: &Config) -> Limits {
    let timing = &config.timing;
    Limits {
        setup: timing.ssh_handshake,
        login: timing.ssh_auth,
        shell: timing.ssh_channel,
        detached_for: timing.detached_for,
        device_kept: timing.link_resume_within,
        adrift_for: timing.adrift_for,
        again_after: (timing.reattach_backoff, timing.reattach_backoff_max),
        linger: timing.ticket,
        age: AgeLimits { idle: timing.idle, longest: timing.session_max, warning: timing.warning },
    }
}

/// The host of a plain shell.
pub fn host(config: &Config) -> HostConfig {
    let limits = &config.limits;
    HostConfig {
        ring_bytes: limits.ring.bytes(),
        window: window(limits.window.bytes()),
        in_window: window(limits.in_window.bytes()),
        viewers_max: limits.viewers_per_session,
        driver_back_within: config.timing.driver_back_within,
        ..HostConfig::default()
    }
}

/// The broker's end of a keeper.
pub fn keeper_house(config: &Config) -> House {
    House::of_keeper(config.limits.viewers_per_session, window(config.limits.window.bytes()))
}

/// How a keeper is started.
pub fn create(config: &Config, command: Option<String>, size: Size) -> Create {
    let (limits, timing, keeper) = (&config.limits, &config.timing, &config.keeper);
    Create {
        command,
        size: size.clamped(),
        ring_bytes: window(keeper.ring.bytes()),
        hold: keeper.overflow == Overflow::Hold,
        orphaned_for_s: keeper.orphaned_for.as_secs(),
        grace_ms: millis(timing.kill_grace),
        window: window(limits.window.bytes()),
        in_window: window(limits.in_window.bytes()),
        viewers_max: u16::try_from(limits.viewers_per_session).unwrap_or(u16::MAX),
        driver_back_within_ms: millis(timing.driver_back_within),
    }
}

fn window(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
