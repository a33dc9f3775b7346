//! Nothing of an ended session stays on its device: its keeper is told to end the program and to
//! go, at once or as soon as the device is there. So a kill takes effect on a device that was away.

use std::time::Duration;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{AsyncContext, Context};
use moorline_wire::Code;
use moorline_wire::keep::{Decoder, FromKeeper, KeeperControl, OrderControl, ToKeeper, VERSION};
use tokio::sync::Semaphore;
use tracing::{debug, info};

use super::SessionSupervisor;
use crate::clock::{self, wall};
use crate::metrics::Wait;
use crate::problem::Problem;
use crate::session::ready::{Wish, ready_again};
use crate::session::ssh::{FromShell, Shell as Ssh};
use crate::session::state::Shell;
use crate::session::{Keeping, SessionParts};

/// How many devices are asked at once.
pub(super) const AT_ONCE: usize = 16;

/// How many of a former process are taken up; the rest go by themselves (`keeper.orphaned_for`).
pub(super) const TAKEN_UP_MAX: u32 = 10_000;

/// One attempt: login, SIGHUP, the grace, SIGKILL.
const ATTEMPT: Duration = Duration::from_secs(30);

/// The wait before the next attempt, the first time and at most.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

impl SessionSupervisor {
    pub(super) fn release(&mut self, wish: Wish, keeping: Keeping, ctx: &mut Context<Self>) {
        let (parts, turns) = (self.parts.clone(), self.releases.clone());
        self.unreleased.insert(wish.session.clone(), wish.device.clone());
        let releasing = async move {
            if matches!(keeping, Keeping::Kept | Keeping::Asked) {
                let mut wait = AGAIN_AFTER.0;
                loop {
                    parts.devices.arrival(&wish.device).await;
                    if attempt(&parts, &wish, &turns).await {
                        break;
                    }
                    clock::pause_for(wait).await;
                    wait = AGAIN_AFTER.1.min(wait * 2);
                }
            }
            while keeping != Keeping::Plain && parts.store.session_released(&wish.session).await.is_err() {
                clock::pause_for(super::STORE_AGAIN_AFTER).await;
            }
            wish.session
        };
        ctx.spawn(releasing.into_actor(self).map(|session, supervisor, _| {
            supervisor.unreleased.remove(&session);
            debug!(%session, "device holds nothing of the session");
        }));
    }
}

/// Whether nothing is left to be done.
async fn attempt(parts: &SessionParts, wish: &Wish, turns: &Semaphore) -> bool {
    let _turn = turns.acquire().await;
    match clock::within(ATTEMPT, Wait::Release, Box::pin(let_go(parts, wish))).await {
        Ok(Ok(())) => true,
        Ok(Err(problem)) => {
            debug!(session = %wish.session, cause = problem.chain(), "not released yet");
            problem.code == Code::UNKNOWN_DEVICE
        }
        Err(late) => {
            parts.metrics.timeout(late.what);
            false
        }
    }
}

/// Claims the session at its keeper, ends the program, and sends the keeper away.
async fn let_go(parts: &SessionParts, wish: &Wish) -> Result<(), Problem> {
    let ready = match ready_again(parts, wish, Shell::Kept).await {
        // The device was never asked for a keeper that it does not have.
        Err(problem) if problem.code == Code::GONE => return Ok(()),
        ready => ready?,
    };
    let (ssh, mut events) = Ssh::start(ready.opened.stream, ready.plan);
    let order = |order| ssh.input(&ToKeeper::Order(order).encode());
    let mut decoder = Decoder::after_preamble();
    let broken = |what| Problem::new(Code::SSH_FAILED).because(anyhow::anyhow!("{what}"));
    while let Some(event) = events.next().await {
        let bytes = match event {
            FromShell::Housed { .. } => {
                let epoch = u64::try_from(wall().as_microsecond()).unwrap_or(0);
                let session = wish.session.clone();
                order(OrderControl::Take { version: VERSION, session, epoch, create: None });
                continue;
            }
            FromShell::Output(bytes) => bytes,
            FromShell::Failed(problem) => return Err(problem),
            FromShell::HostKeyChanged(_) => return Err(Problem::new(Code::HOST_KEY_CHANGED)),
            FromShell::Exited(_) => return Err(broken("the keeper was not reached")),
            FromShell::Step(_) | FromShell::InputTaken(_) => continue,
        };
        ssh.taken(bytes.len());
        decoder.push(&bytes);
        loop {
            let message = decoder.next_message().and_then(|raw| raw.map(FromKeeper::decode).transpose());
            match message.map_err(|violation| broken(violation.what))? {
                None => break,
                Some(Some(FromKeeper::Control(KeeperControl::Taken(taken)))) => match taken.exit {
                    Some(_) => order(OrderControl::Bye),
                    None => order(OrderControl::End),
                },
                Some(Some(FromKeeper::Control(KeeperControl::Ended { .. }))) => order(OrderControl::Bye),
                Some(Some(FromKeeper::Control(KeeperControl::Gone | KeeperControl::Absent))) => return Ok(()),
                Some(Some(FromKeeper::Control(KeeperControl::Superseded { .. }))) => {
                    info!(session = %wish.session, "another broker has this session");
                    return Ok(());
                }
                Some(_) => {}
            }
        }
    }
    Err(broken("the way to the keeper ended"))
}
