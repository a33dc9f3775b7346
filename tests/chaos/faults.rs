//! The faults: what each is called, how long a person may wait after it, what is done, and what the
//! init system (which the suite plays) does about it.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::{join, try_join_all};
use moorline_tests::Slow;
use moorline_tests::store::{Filling, Lock};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use reqwest::Method;

use crate::pause::pause;
use crate::scene::{RESTART_AFTER, Scene};
use crate::shell::Shell;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    TabReload,
    BrowserCut,
    BrowserStall,
    BrowserDelay,
    DeviceCut,
    DeviceStall,
    AgentKill,
    AgentStop,
    BrokerKill,
    BrokerTerm,
    BrokerKillSetup,
    StoreLocked,
    DiskFull,
    SessionPanic,
    Crowd,
    TwoAtOnce,
}

/// How long the agents are stopped, the store is locked, the disk is full, and writes are delayed.
const STOPPED_FOR: Duration = Duration::from_secs(20);
const LOCKED_FOR: Duration = Duration::from_secs(10);
const FULL_FOR: Duration = Duration::from_secs(3);
const DELAYED_FOR: Duration = Duration::from_secs(3);

/// A network that delays three writes in ten.
const DELAYED: Slow = Slow { share: 0.3, delay: Duration::from_millis(50)..Duration::from_millis(400) };

/// What a cut or a kill of one part may take at most, until the person is live again.
const AT_ONCE: Duration = Duration::from_secs(2);
/// The same where the part that died is started again only after a second.
const RESTARTED: Duration = Duration::from_secs(5);
/// The same where nobody hears of it: 15 s without a sign of life, and the way back.
const STALLED: Duration = Duration::from_secs(17);

impl Fault {
    /// All of them, the slowest first: those that are tried at once then end at once.
    pub const ALL: [Fault; 16] = [
        Fault::AgentStop,
        Fault::DeviceStall,
        Fault::BrowserStall,
        Fault::Crowd,
        Fault::StoreLocked,
        Fault::BrokerKillSetup,
        Fault::TwoAtOnce,
        Fault::TabReload,
        Fault::BrokerTerm,
        Fault::BrokerKill,
        Fault::DiskFull,
        Fault::BrowserDelay,
        Fault::AgentKill,
        Fault::SessionPanic,
        Fault::DeviceCut,
        Fault::BrowserCut,
    ];

    /// Its name in the table and in `--faults`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TabReload => "tab_reload",
            Self::BrowserCut => "browser_cut",
            Self::BrowserStall => "browser_stall",
            Self::BrowserDelay => "browser_delay",
            Self::DeviceCut => "device_cut",
            Self::DeviceStall => "device_stall",
            Self::AgentKill => "agent_kill",
            Self::AgentStop => "agent_stop",
            Self::BrokerKill => "broker_kill",
            Self::BrokerTerm => "broker_term",
            Self::BrokerKillSetup => "broker_kill_setup",
            Self::StoreLocked => "store_locked",
            Self::DiskFull => "disk_full",
            Self::SessionPanic => "session_panic",
            Self::Crowd => "devices_500",
            Self::TwoAtOnce => "two_at_once",
        }
    }

    /// The fault of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// Within which time 99 of 100 people must be live again.
    pub fn bar(self) -> Duration {
        match self {
            Self::BrowserStall | Self::DeviceStall => STALLED,
            // The device itself stands still for that long.
            Self::AgentStop => STOPPED_FOR + RESTARTED,
            Self::AgentKill | Self::BrokerKill | Self::BrokerTerm | Self::TwoAtOnce => RESTARTED,
            Self::BrokerKillSetup | Self::Crowd => RESTARTED,
            _ => AT_ONCE,
        }
    }
}

/// What was done, and is to be mended.
#[derive(Default)]
pub struct Damage {
    broker_is_dead: bool,
    agents_are_dead: bool,
    agents_are_stopped: bool,
    writes_are_delayed: bool,
    lock: Option<Lock>,
    filling: Option<Filling>,
    /// What else was tried while the damage lasts.
    words: Vec<String>,
}

impl Damage {
    /// What was done, where that is not the same in each round.
    pub fn words(&self) -> String {
        self.words.join(" and ")
    }
}

/// Does it.
pub async fn strike(
    fault: Fault,
    scene: &mut Scene<'_>,
    shells: &[Shell],
    random: &mut StdRng,
) -> Result<Damage> {
    let mut damage = Damage::default();
    match fault {
        Fault::TwoAtOnce => {
            let two = two(random);
            if two.contains(&Fault::TabReload) {
                try_join_all(shells.iter().map(Shell::rests)).await?;
            }
            for fault in two {
                damage.words.push(fault.name().to_owned());
                once(fault, scene, shells, &mut damage).await?;
            }
        }
        fault => once(fault, scene, shells, &mut damage).await?,
    }
    shells.iter().for_each(Shell::works);
    // A cut is ordered, and done a moment later.
    pause(Duration::from_millis(5)).await;
    Ok(damage)
}

/// Two that can be had together, and do not take long by themselves.
fn two(random: &mut StdRng) -> Vec<Fault> {
    const QUICK: [Fault; 6] = [
        Fault::TabReload,
        Fault::BrowserCut,
        Fault::DeviceCut,
        Fault::SessionPanic,
        Fault::AgentKill,
        Fault::BrokerKill,
    ];
    // In the order of the list: a broker that is dead panics no more.
    let two: Vec<_> = QUICK.choose_multiple(random, 2).copied().collect();
    QUICK.into_iter().filter(|fault| two.contains(fault)).collect()
}

async fn once(fault: Fault, scene: &mut Scene<'_>, shells: &[Shell], damage: &mut Damage) -> Result<()> {
    match fault {
        Fault::TabReload => shells.iter().for_each(Shell::reloads),
        Fault::BrowserCut => scene.people.cut(),
        Fault::BrowserStall => scene.people.forget(),
        Fault::BrowserDelay => {
            scene.people.slow(Some(DELAYED));
            damage.writes_are_delayed = true;
        }
        Fault::DeviceCut => scene.far.cut(),
        Fault::DeviceStall => scene.far.forget(),
        Fault::AgentKill => {
            scene.kill_agents()?;
            damage.agents_are_dead = true;
        }
        Fault::AgentStop => {
            scene.signal_agents(Signal::SIGSTOP)?;
            damage.agents_are_stopped = true;
        }
        Fault::BrokerKill | Fault::BrokerKillSetup | Fault::Crowd => {
            scene.kill_broker()?;
            damage.broker_is_dead = true;
        }
        Fault::BrokerTerm => {
            // It serves on while it drains: the fault is over its people when it has ended.
            scene.end_broker().await?;
            damage.broker_is_dead = true;
        }
        Fault::StoreLocked => damage.lock = Some(Lock::take(&scene.store()).await?),
        Fault::DiskFull => damage.filling = Some(Filling::pour(&scene.stage.path("broker"))?),
        Fault::SessionPanic => {
            try_join_all(shells.iter().map(|shell| panic(scene, shell))).await?;
        }
        Fault::TwoAtOnce => unreachable!("it is made of others"),
    }
    Ok(())
}

async fn panic(scene: &Scene<'_>, shell: &Shell) -> Result<()> {
    let path = format!("/api/v1/test/panic/{}", shell.session);
    let answer = scene.broker.call(Method::POST, &path, None).await?;
    ensure!(
        answer.status < 300,
        "the broker does not panic when it is told to: {} {}",
        answer.status,
        answer.text
    );
    Ok(())
}

/// Does what time, people with a broom, and an init system do about it.
pub async fn mend(mut damage: Damage, scene: &mut Scene<'_>) -> Result<()> {
    if damage.agents_are_stopped {
        pause(STOPPED_FOR).await;
        scene.signal_agents(Signal::SIGCONT)?;
    }
    if damage.writes_are_delayed {
        pause(DELAYED_FOR).await;
        scene.people.slow(None);
    }
    if let Some(lock) = damage.lock.take() {
        // Whoever asks for a shell now is refused; nobody who has one may notice.
        let refused = async { drop(scene.broker.open(&scene.devices[0].id).await) };
        join(refused, pause(LOCKED_FOR)).await;
        lock.release().await?;
    }
    if let Some(filling) = damage.filling.take() {
        // Whoever asks for a shell now may be refused; nobody who has one may notice.
        let _ = scene.broker.open(&scene.devices[0].id).await;
        pause(FULL_FOR).await;
        drop(filling);
    }
    if damage.agents_are_dead || damage.broker_is_dead {
        pause(RESTART_AFTER).await;
    }
    if damage.agents_are_dead {
        scene.start_agents()?;
    }
    if damage.broker_is_dead {
        scene.start_broker().await?;
    }
    Ok(())
}
