//! The HTTP side: every route with who may call it, and the server that answers.
//!
//! - [`routes`]: the table of contents
//! - `server`: connections, over TLS or not, and the threads that serve them
//! - `route`: how a line of it becomes a resource, and the check of who may call it
//! - `guard`: what every request passes first (host, origin, sizes) and every answer last (headers)
//! - `answer`, `body`: problems as JSON; bodies and queries, strictly read
//! - `faults`: failures on purpose, in a broker that was started for that
//! - `cookie`, `peer`: the cookie of a login, and where a request comes from
//! - `probe`, `login`, `second`, `provider`, `me`, `people`, `grants`, `tokens`, `audit`, `devices`, `private_keys`, `standing`,
//!   `install_keys`, `session_list`, `sessions`, `actors`, `events`, `log`, `sockets`, `assets`, `openapi`: the handlers

use std::net::TcpListener;
use std::sync::Arc;

use moorline_wire::Code;
use tokio::sync::watch;

use crate::access::{Act, Right};
use crate::actor::{Pulse, Registry};
use crate::audit::Auditor;
use crate::config::Config;
use crate::device::Devices;
use crate::identity::Identity;
use crate::keys::LoginKeys;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::session::Sessions;
use crate::store::Store;
use crate::user::Users;
use crate::warden::Warden;

mod actors;
mod answer;
mod assets;
mod audit;
mod body;
mod cookie;
mod devices;
mod events;
mod faults;
mod grants;
mod guard;
mod install_keys;
mod log;
mod login;
mod me;
mod openapi;
mod peer;
mod people;
mod private_keys;
mod probe;
mod provider;
mod route;
mod second;
mod server;
mod session_list;
mod sessions;
mod sockets;
mod standing;
#[cfg(test)]
mod tests;
mod tokens;

pub use events::Seats;
use route::Routes;
use route::Who::{
    Admin, Anyone, Entering, Known, Lasting, Local, Login, OnDevice, OnSession, Person, Program, SeesDevice,
};
pub use server::serve;

/// Every route of the broker, and who may call it.
fn routes(r: &mut Routes) {
    r.at("/livez").get(Anyone, probe::livez);
    r.at("/readyz").get(Anyone, probe::readyz);
    r.at("/metrics").get(Local, probe::metrics);
    r.at("/api/v1/openapi.json").get(Anyone, openapi::document);

    people_and_what_is_theirs(r);

    // Lists hold what one may see; a new session is asked for by what is in its body.
    r.at("/api/v1/devices").get(Person, devices::list);
    r.at("/api/v1/devices/{id}")
        .get(SeesDevice, devices::show)
        .patch(OnDevice(Act::Manage), devices::change)
        .delete(OnDevice(Act::Manage), devices::forget);
    r.at("/api/v1/devices/{id}/private-key")
        .get(Admin, private_keys::show)
        .put(Admin, private_keys::set)
        .delete(Admin, private_keys::remove);
    r.at("/api/v1/devices/{id}/approve").post(OnDevice(Act::Manage), standing::approve);
    r.at("/api/v1/devices/{id}/rotate-key").post(OnDevice(Act::Manage), standing::rotate_key);
    r.at("/api/v1/devices/{id}/revoke").post(OnDevice(Act::Manage), standing::revoke);
    r.at("/api/v1/sessions")
        .get(Person, session_list::list)
        .post(Person, sessions::create)
        .delete(Person, sessions::kill_many);
    r.at("/api/v1/sessions/{id}")
        .get(OnSession(Right::See), sessions::show)
        .delete(OnSession(Right::Kill), sessions::kill);
    r.at("/api/v1/sessions/{id}/tickets").post(OnSession(Right::Watch), sessions::ticket);
    r.at("/api/v1/sessions/{id}/terminal").get(OnSession(Right::Watch), sockets::terminal);

    // How the broker itself is.
    r.at("/api/v1/actors").get(Admin, actors::list);
    r.at("/api/v1/events").get(Admin, events::listen);
    r.at("/api/v1/log").get(Admin, log::show).put(Admin, log::change);

    if faults::allowed() {
        r.at("/api/v1/test/panic/{id}").post(Local, faults::panic);
    }

    // An agent proves who it is in its greeting, inside the socket.
    r.at("/agent/v1/link").get(Program, sockets::link);

    pages(r);
}

/// The page of the web build at each of its addresses, and its files. Whatever is not above is one of them.
fn pages(r: &mut Routes) {
    for page in PAGES {
        r.at(page).get(Anyone, assets::page).head(Anyone, assets::page);
    }
    r.at("/{file:.+}").get(Anyone, assets::file).head(Anyone, assets::file);
}

/// How one comes to be logged in, what is one's own, and who may do what.
fn people_and_what_is_theirs(r: &mut Routes) {
    // How one comes to be logged in.
    r.at("/api/v1/login").get(Anyone, provider::ways).post(Anyone, login::log_in);
    r.at("/api/v1/login/oidc").get(Anyone, provider::begin);
    r.at("/api/v1/login/oidc/callback").get(Anyone, provider::callback);
    r.at("/api/v1/invitation").post(Anyone, login::invitation);
    r.at("/api/v1/invitation/accept").post(Anyone, login::accept);

    // What is one's own.
    r.at("/api/v1/logout").post(Entering, login::log_out);
    r.at("/api/v1/me").get(Known, me::show);
    r.at("/api/v1/me/totp").post(Entering, second::begin);
    r.at("/api/v1/me/totp/confirm").post(Entering, second::confirm);
    r.at("/api/v1/me/totp/recovery-codes").post(Login, second::renew_codes);
    r.at("/api/v1/me/totp/off").post(Login, second::end);
    r.at("/api/v1/me/logins").get(Login, login::logins);
    r.at("/api/v1/me/logins/{id}").delete(Login, login::end_login);
    r.at("/api/v1/me/password").post(Login, login::change_password);
    r.at("/api/v1/me/oidc").post(Login, provider::link).delete(Login, provider::unlink);
    r.at("/api/v1/tokens").get(Login, tokens::list).post(Login, tokens::create);
    r.at("/api/v1/tokens/{id}").delete(Login, tokens::end);

    r.at("/api/v1/people").get(Admin, people::list).post(Lasting, people::create);
    r.at("/api/v1/people/{id}")
        .get(Admin, people::show)
        .patch(Lasting, people::change)
        .delete(Lasting, people::remove);
    r.at("/api/v1/people/{id}/invitations").post(Lasting, people::invite);
    r.at("/api/v1/people/{id}/totp").delete(Lasting, people::reset_totp);
    r.at("/api/v1/people/{id}/oidc").delete(Lasting, people::unlink);
    r.at("/api/v1/grants").get(Admin, grants::list).post(Lasting, grants::create);
    r.at("/api/v1/grants/{id}").delete(Lasting, grants::remove);
    r.at("/api/v1/access").get(Admin, grants::explain);
    r.at("/api/v1/audit").get(Admin, audit::list);
    r.at("/api/v1/install-keys").get(Admin, install_keys::list).post(Lasting, install_keys::create);
    r.at("/api/v1/install-keys/{id}").delete(Lasting, install_keys::end);
}

/// Addresses that show the page of the web build; what stands on it, it asks the API for.
const PAGES: [&str; 12] = [
    "/",
    "/devices",
    "/sessions",
    "/actors",
    "/account",
    "/people",
    "/grants",
    "/install-keys",
    "/audit",
    "/welcome",
    "/s/{id}",
    "/d/{id}",
];

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    /// The settings.
    pub config: Arc<Config>,
    /// Devices and sessions that are known.
    pub store: Store,
    /// What is counted.
    pub metrics: Metrics,
    /// The devices that are connected.
    pub devices: Devices,
    /// Private keys with which the broker logs in to devices.
    pub keys: LoginKeys,
    /// The sessions that are not over.
    pub sessions: Sessions,
    /// The browser terminals.
    pub users: Users,
    /// Who people are.
    pub identity: Identity,
    /// What they may.
    pub warden: Warden,
    /// What they did.
    pub audit: Auditor,
    /// Every actor.
    pub registry: Registry,
    /// The places of those who listen to changes.
    pub seats: Seats,
    /// Whether the threads of actors answer.
    pub pulse: Pulse,
    /// Whether the broker is stopping.
    pub health: Health,
}

/// Whether new work is taken. Shared by the handlers and `app`.
#[derive(Clone, Debug, Default)]
pub struct Health {
    draining: Arc<watch::Sender<bool>>,
}

impl Health {
    /// From now on nothing new is taken.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether the broker is stopping.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until it is.
    pub async fn drained(&self) {
        // Its sender is in our hands: it is not closed before.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }
}

/// Takes the listen address, so that a taken port is told before anything else starts.
pub fn listen(config: &Config) -> Result<TcpListener, Problem> {
    let bound = || -> std::io::Result<TcpListener> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(config.listen),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        // A broker that was stopped and started again does not wait for old connections to be forgotten.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&config.listen.into())?;
        socket.listen(i32::try_from(config.http.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    };
    bound().map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Problem::new(Code::PORT_IN_USE)
            .saying(format!(
                "{} is taken by another program. Stop that program or choose another address with --set \
                 listen=ADDRESS:PORT.",
                config.listen
            ))
            .because(e),
        _ => Problem::new(Code::BAD_CONFIG)
            .saying(format!(
                "listen = {} cannot be used: {e}. Give an address of this machine.",
                config.listen
            ))
            .because(e),
    })
}
