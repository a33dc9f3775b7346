//! How a session begins: it gets a place, is written down, and its way to the device is opened.

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{Context, Handler, Message, ResponseActFuture};
use moorline_wire::term::frame::Step;
use moorline_wire::{Code, SessionId};
use tokio::sync::watch;
use tracing::info;

use super::SessionSupervisor;
use crate::clock::wall;
use crate::problem::Problem;
use crate::session::actor::{Begin, Fresh};
use crate::session::ready::{Wish, ready};
use crate::session::{Keeping, NewSession, SessionParts, SessionState, SessionView};
use crate::store::{DeviceRow, House, SessionRow, Standing};

/// A login is a name; nothing on any device has a longer one.
const LOGIN_BYTES_MAX: usize = 64;

/// A command line that a person types is shorter.
const COMMAND_BYTES_MAX: usize = 16 * 1024;

/// A session is wanted.
#[derive(Message)]
#[rtype(result = "Result<SessionId, Problem>")]
pub struct Create(pub NewSession);

impl Handler<Create> for SessionSupervisor {
    type Result = ResponseActFuture<Self, Result<SessionId, Problem>>;

    fn handle(&mut self, Create(new): Create, _: &mut Self::Context) -> Self::Result {
        let parts = self.parts.clone();
        let asked = async move {
            let _authorize = new.trace.step("authorize");
            let device = wanted_device(&parts, &new).await?;
            Ok((new, device))
        };
        Box::pin(asked.into_actor(self).then(|asked, supervisor, ctx| supervisor.prepare(asked, ctx)))
    }
}

/// The device, if it can have this session now.
async fn wanted_device(parts: &SessionParts, new: &NewSession) -> Result<DeviceRow, Problem> {
    let device = parts.store.device(&new.device).await?.ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))?;
    match device.standing {
        Standing::Pending => return Err(Problem::new(Code::DEVICE_PENDING)),
        Standing::Revoked => return Err(Problem::new(Code::DEVICE_REVOKED)),
        Standing::Approved => {}
    }
    if device.offered_host_keys.is_some() {
        return Err(Problem::new(Code::HOST_KEY_CHANGED));
    }
    let login = new.login.as_deref().unwrap_or(&device.login);
    let impossible = login.is_empty() || login.len() > LOGIN_BYTES_MAX || login.chars().any(char::is_control);
    if impossible {
        return Err(Problem::new(Code::BAD_REQUEST).saying("This is no login name that a device can have."));
    }
    if new.command.as_ref().is_some_and(|command| command.is_empty() || command.len() > COMMAND_BYTES_MAX) {
        return Err(Problem::new(Code::BAD_REQUEST).saying("This is no command that a device can run."));
    }
    if parts.devices.state(&new.device).await.is_none() {
        return Err(Problem::new(Code::DEVICE_OFFLINE));
    }
    Ok(device)
}

type Prepared = ResponseActFuture<SessionSupervisor, Result<SessionId, Problem>>;

impl SessionSupervisor {
    /// Takes a place for the session, writes it down, opens its stream, and starts it.
    fn prepare(
        &mut self,
        asked: Result<(NewSession, DeviceRow), Problem>,
        _: &mut Context<Self>,
    ) -> Prepared {
        let taken = asked.and_then(|(new, device)| {
            self.room_for(&new.device)?;
            Ok((new_id()?, new, device))
        });
        let (id, new, device) = match taken {
            Ok(taken) => taken,
            Err(problem) => {
                self.parts.metrics.refused(problem.code);
                return Box::pin(std::future::ready(Err(problem)).into_actor(self));
            }
        };
        let trace = new.trace.clone();
        trace.is_of(&id);
        let view = first_view(&id, &new, &device);
        let row = row_of(&view);
        let wish = Wish {
            session: id.clone(),
            device: new.device,
            login: view.login.clone(),
            person: new.person,
            size: new.size,
            command: new.command,
            traced: view.traced,
        };
        let (view, receiver) = watch::channel(view);
        self.enter(wish.clone(), receiver);
        let parts = self.parts.clone();
        let getting_ready = async move {
            let store = trace.step("store");
            parts.store.session_started(&row).await?;
            drop(store);
            let step = trace.step("stream");
            let ready = ready(&parts, &wish, device.host_keys).await;
            Ok::<_, Problem>(ready.map(|ready| Fresh { ready, trace, step }))
        };
        Box::pin(getting_ready.into_actor(self).map(move |ready, supervisor, ctx| match ready {
            Ok(Ok(fresh)) => {
                let trace_id = fresh.trace.place().trace_id();
                info!(session = %id, device = %view.borrow().device, trace_id, "session begins");
                let place = fresh.ready.opened.place.clone();
                supervisor.start(&id, view, Begin::Fresh(Box::new(fresh)), place, ctx);
                supervisor.parts.metrics.session_started();
                Ok(id)
            }
            // Written down, and could not begin.
            Ok(Err(problem)) => {
                supervisor.parts.metrics.setup_failed(Step::Broker, problem.code);
                supervisor.end_without_actor(&id, problem.ending(), ctx);
                Err(problem)
            }
            Err(problem) => {
                supervisor.parts.metrics.setup_failed(Step::Broker, problem.code);
                supervisor.sessions.remove(&id);
                Err(problem)
            }
        }))
    }
}

fn new_id() -> Result<SessionId, Problem> {
    let mut bytes = [0; 17];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).map_err(|_| {
        Problem::new(Code::INTERNAL).because(anyhow::anyhow!("the system gave no random bytes"))
    })?;
    let text = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
    let id = format!("{}{}", SessionId::PREFIX, &text[..SessionId::LENGTH]);
    Ok(id.parse().expect("17 bytes are 28 characters of base32, of which an id has 26"))
}

fn first_view(id: &SessionId, new: &NewSession, device: &DeviceRow) -> SessionView {
    SessionView {
        id: id.clone(),
        device: new.device.clone(),
        device_name: device.name.clone(),
        login: new.login.clone().unwrap_or_else(|| device.login.clone()),
        person: new.person.clone(),
        command: new.command.clone(),
        state: SessionState::Connecting,
        started: wall(),
        ended: None,
        ending: None,
        viewers: 0,
        steps: Vec::new(),
        keeping: Keeping::Unknown,
        traced: Some(*new.trace.place()),
    }
}

fn row_of(view: &SessionView) -> SessionRow {
    SessionRow {
        id: view.id.clone(),
        device: view.device.clone(),
        device_name: view.device_name.clone(),
        login: view.login.clone(),
        person: view.person.clone(),
        command: view.command.clone(),
        started: view.started,
        ended: None,
        ending: None,
        house: House::Unknown,
        traced: view.traced,
    }
}
