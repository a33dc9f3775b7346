//! One SSH connection: what its client may do, and its sessions.
//!
//! Everything that is not here is refused by russh's defaults: passwords, forwarding of ports, sockets
//! and X11, subsystems. No method waits for a session or a client: this is russh's only loop.

use std::collections::HashMap;
use std::sync::Arc;

use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Pty, Sig};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::login::Login;
use super::program::{Order, Program, Terminal};
use super::session::{self, Wires};
use super::transport::{Held, Welcome};
use super::{Grant, Shared, Stage, WINDOW, authorized_keys, certificate, pty, signals};
use crate::clock;

/// While input trickles, see [`super::transport`]. (With 1, russh would never grant anything again.)
const TRICKLE: u32 = 2;
/// More variables than any client sends.
const VARIABLES_MAX: usize = 64;
/// Names and values of them together.
const ENVIRONMENT_BYTES_MAX: usize = 32 * 1024;
/// The data type of standard error (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// One SSH connection.
pub struct Connection {
    shared: Arc<Shared>,
    held: Arc<Held>,
    stage: watch::Sender<Stage>,
    who: Option<(Login, Grant)>,
    /// Keys that were shown since the last that came with a proof.
    offers: usize,
    channels: HashMap<ChannelId, Slot>,
    /// Owns the sessions: they end with the connection.
    sessions: JoinSet<()>,
}

/// One channel.
enum Slot {
    /// Its client is still saying what it wants.
    Open(Opening),
    /// Its program runs, or has ended.
    Running { wires: Wires, task: Owned },
}

impl Slot {
    /// Its session has closed the channel. Of the peer's answer to that, russh tells nothing.
    fn is_over(&self) -> bool {
        matches!(self, Self::Running { task: Owned(task), .. } if task.is_finished())
    }
}

/// A task that ends when this is dropped.
struct Owned(AbortHandle);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Opening {
    out: ChannelWriteHalf<Msg>,
    terminal: Option<Terminal>,
    environment: Vec<(String, String)>,
}

impl Connection {
    /// Somebody who is not let in yet.
    pub fn new(shared: Arc<Shared>, held: Arc<Held>, stage: watch::Sender<Stage>) -> Self {
        let (channels, sessions) = (HashMap::new(), JoinSet::new());
        Self { shared, held, stage, who: None, offers: 0, channels, sessions }
    }

    /// Looks the login up and lets it in if the grant, computed for it, says so.
    async fn admit<F>(&mut self, user: &str, decide: F) -> Auth
    where
        F: FnOnce(&Shared, &Login) -> Result<Grant, String> + Send + 'static,
    {
        let (shared, name) = (self.shared.clone(), user.to_owned());
        // The user database may be on the network, the file of keys on a slow disk.
        let decided = tokio::task::spawn_blocking(move || {
            let login = Login::find(&name, &shared.embedded).map_err(|refusal| refusal.to_string())?;
            let grant = decide(&shared, &login)?;
            Ok::<_, String>((login, grant))
        });
        match decided.await.unwrap_or_else(|_| Err("looking the login up failed".into())) {
            Ok((login, grant)) => {
                tracing::info!(login = login.name, by = grant.by, "let in");
                self.shared.metrics.login(true);
                self.who = Some((login, grant));
                Auth::Accept
            }
            Err(why) => {
                tracing::warn!(login = user, why, "refused a login");
                self.shared.metrics.login(false);
                Auth::reject()
            }
        }
    }

    fn opening(&mut self, channel: ChannelId) -> Option<&mut Opening> {
        match self.channels.get_mut(&channel) {
            Some(Slot::Open(opening)) => Some(opening),
            _ => None,
        }
    }

    fn wires(&mut self, channel: ChannelId) -> Option<&mut Wires> {
        match self.channels.get_mut(&channel) {
            Some(Slot::Running { wires, .. }) => Some(wires),
            _ => None,
        }
    }

    /// Starts what the client wants on its channel, or says why not.
    fn start(
        &mut self,
        channel: ChannelId,
        wanted: Option<&[u8]>,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        while self.sessions.try_join_next().is_some() {}
        let (Some((login, grant)), Some(Slot::Open(opening))) = (&self.who, self.channels.get(&channel))
        else {
            return session.channel_failure(channel);
        };
        let mut environment = opening.environment.clone();
        environment.extend(self.shared.for_keepers(login));
        let forced = grant.command.as_deref().map(str::as_bytes);
        let order = Order {
            login,
            command: forced.or(wanted),
            original: forced.and(wanted),
            terminal: opening.terminal.as_ref(),
            environment: &environment,
        };
        let (program, ends) = match Program::start(&order, &self.shared.undertaker) {
            Ok(started) => started,
            Err(err) => {
                tracing::warn!(login = login.name, shell = %login.shell.display(), %err, "cannot start a session");
                let text = format!("moorline: cannot start {}: {err}\r\n", login.shell.display());
                session.extended_data(channel, STDERR, text.into_bytes())?;
                return session.channel_failure(channel);
            }
        };
        tracing::debug!(
            login = login.name,
            sid = program.sid(),
            terminal = order.terminal.is_some(),
            "started"
        );
        let Some(Slot::Open(opening)) = self.channels.remove(&channel) else {
            return session.channel_failure(channel);
        };
        let (wires, wired) = session::wires(self.held.clone(), &ends);
        let run = session::run(program, ends, wired, opening.out, session.handle());
        let task = Owned(self.sessions.spawn(run));
        self.channels.insert(channel, Slot::Running { wires, task });
        session.channel_success(channel)
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Self::Error> {
        self.stage.send_replace(Stage::Login);
        Ok(Auth::reject())
    }

    /// An offer proves nothing and is answered the same for every key and login. Whoever goes on offering and proves
    /// nothing is looking for a key that somebody else has, or for work for us: russh does not count offers.
    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.stage.send_replace(Stage::Login);
        self.offers += 1;
        if self.offers > self.shared.offers_max {
            tracing::warn!(
                login = user,
                offers = self.offers,
                "refused a login: too many keys without a proof"
            );
            self.shared.metrics.login(false);
            return Err(russh::Error::NotAuthenticated);
        }
        Ok(if authorized_keys::usable(offer.algorithm) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        self.offers = 0;
        if !authorized_keys::usable(key.algorithm) {
            return Ok(Auth::reject());
        }
        let key = key.public_key.clone();
        let decide = move |shared: &Shared, login: &Login| {
            if shared.embedded.authorized_keys.is_empty() {
                return Err("only certificates let in here".to_owned());
            }
            let path = authorized_keys::path(&shared.embedded.authorized_keys, login);
            let text =
                authorized_keys::read(&path, login).map_err(|err| format!("{}: {err}", path.display()))?;
            authorized_keys::find(&text, &key).ok_or_else(|| format!("the key is not in {}", path.display()))
        };
        Ok(self.admit(user, decide).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        cert: &Certificate,
    ) -> Result<Auth, Self::Error> {
        self.offers = 0;
        let cert = cert.clone();
        let decide = move |shared: &Shared, login: &Login| {
            certificate::check(&cert, &login.name, &shared.ca.get(), clock::unix_seconds())
                .map_err(|refusal| refusal.to_string())
        };
        Ok(self.admit(user, decide).await)
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.stage.send_replace(Stage::In);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.retain(|_, slot| !slot.is_over());
        if self.channels.len() >= self.shared.channels_max {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        // Input comes by `data` below. The reading half would make russh's loop wait for its reader.
        let id = channel.id();
        let (_, out) = channel.split();
        self.channels.insert(id, Slot::Open(Opening { out, terminal: None, environment: Vec::new() }));
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        if let Some(wires) = self.wires(channel) {
            wires.input = None;
        }
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(input) = self.wires(channel).and_then(|wires| wires.input.as_ref()) {
            input.give(data);
        }
        Ok(())
    }

    fn adjust_window(&mut self, _channel: ChannelId, _current: u32) -> u32 {
        if self.held.welcome() == Welcome::Open { WINDOW } else { TRICKLE }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        pixel_width: u32,
        pixel_height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let granted = self.who.as_ref().is_some_and(|(_, grant)| grant.pty);
        match self.opening(channel) {
            Some(opening) if granted && opening.terminal.is_none() && is_a_name(term) => {
                let size = pty::Size::from_ssh(cols, rows, pixel_width, pixel_height);
                opening.terminal = Some(Terminal { term: term.to_owned(), size, modes: modes.to_vec() });
                session.channel_success(channel)
            }
            _ => session.channel_failure(channel),
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let accepted = self.shared.embedded.accept_env.iter().any(|pattern| super::matches(pattern, name));
        match self.opening(channel) {
            Some(opening) if accepted && fits(&opening.environment, name, value) => {
                opening.environment.push((name.to_owned(), value.to_owned()));
                session.channel_success(channel)
            }
            _ => session.channel_failure(channel),
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.start(channel, None, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if data.contains(&0) {
            return session.channel_failure(channel);
        }
        self.start(channel, Some(data), session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        cols: u32,
        rows: u32,
        pixel_width: u32,
        pixel_height: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let size = pty::Size::from_ssh(cols, rows, pixel_width, pixel_height);
        match self.channels.get_mut(&channel) {
            Some(Slot::Running { wires, .. }) => drop(wires.size.send_replace(Some(size))),
            Some(Slot::Open(Opening { terminal: Some(terminal), .. })) => terminal.size = size,
            _ => {}
        }
        session.channel_success(channel)
    }

    async fn signal(
        &mut self,
        channel: ChannelId,
        signal: Sig,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let (Some(wires), Some(signal)) = (self.wires(channel), signals::from_ssh(&signal))
            && wires.signals.try_send(signal).is_err()
        {
            tracing::debug!(%signal, "a client sends signals faster than they can be passed on");
        }
        Ok(())
    }
}

/// Whether the variable may stand in an environment, beside those that are there.
fn fits(environment: &[(String, String)], name: &str, value: &str) -> bool {
    let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    environment.len() < VARIABLES_MAX
        && bytes + name.len() + value.len() <= ENVIRONMENT_BYTES_MAX
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !value.contains('\0')
}

/// Whether it may be the name of a kind of terminal. (It becomes part of a path in some programs.)
fn is_a_name(term: &str) -> bool {
    term.len() <= 64 && term.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}
