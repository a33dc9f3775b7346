//! A real SSH server at the end of a stream, which behaves as it is told.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moorline_link_io::LinkStream;
use moorline_wire::Code;
use ring::rand::{SecureRandom, SystemRandom};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Certificate, PrivateKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId, Pty, Sig};

use super::keeper::{Attached, Keepers};

/// What an sshd does, and what it saw.
#[derive(Debug, Default)]
pub struct Manners {
    /// The stream is reset with this code at once.
    pub reset: Mutex<Option<Code>>,
    /// It never says anything.
    pub silent: AtomicBool,
    /// It refuses every login.
    pub refuses_login: AtomicBool,
    /// It never answers to a login.
    pub ponders_login: AtomicBool,
    /// It refuses the channel.
    pub refuses_channel: AtomicBool,
    /// It refuses the terminal.
    pub refuses_pty: AtomicBool,
    /// It refuses the shell.
    pub refuses_shell: AtomicBool,
    /// It never answers to the request for a shell.
    pub ponders_shell: AtomicBool,
    /// The certificates that were shown to it.
    pub certificates: Mutex<Vec<(String, Certificate)>>,
    /// The last size of the terminal: cols, rows.
    pub size: Mutex<(u32, u32)>,
    /// What was asked for: TERM, environment, command.
    pub asked: Mutex<Vec<String>>,
    /// Signals that came.
    pub signals: Mutex<Vec<String>>,
    /// Shells that run.
    pub running: AtomicUsize,
    /// With which status the shell exits when it reads `exit`.
    pub status: AtomicU32,
    /// Its keepers. Whether the agent says that there are any is another matter.
    pub keepers: Mutex<Keepers>,
}

/// A fresh host key.
pub fn host_key() -> PrivateKey {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).unwrap();
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}

/// Serves one connection on that stream.
pub fn serve(stream: LinkStream, host_key: PrivateKey, manners: Arc<Manners>) {
    if let Some(code) = *manners.reset.lock().unwrap() {
        return stream.reset(code);
    }
    let config = server::Config {
        keys: vec![host_key],
        window_size: 128 * 1024,
        maximum_packet_size: 32 * 1024,
        inactivity_timeout: None,
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        nodelay: true,
        ..server::Config::default()
    };
    actix_rt::spawn(async move {
        if manners.silent.load(Ordering::SeqCst) {
            let _held = stream;
            return std::future::pending().await;
        }
        if let Ok(session) =
            server::run_stream(Arc::new(config), stream, Sshd { manners, shell: None, attached: None }).await
        {
            let _ = session.await;
        }
    });
}

struct Sshd {
    manners: Arc<Manners>,
    shell: Option<Running>,
    /// The channel is one to a keeper.
    attached: Option<Attached>,
}

/// Counts a shell as running until it is dropped.
struct Running(Arc<Manners>);

impl Running {
    fn new(manners: &Arc<Manners>) -> Self {
        manners.running.fetch_add(1, Ordering::SeqCst);
        Self(manners.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sshd {
    async fn answer(
        &self,
        channel: ChannelId,
        refuse: bool,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if refuse { session.channel_failure(channel) } else { session.channel_success(channel) }
    }

    async fn start(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        if self.manners.ponders_shell.load(Ordering::SeqCst) {
            return Ok(());
        }
        let refuse = self.manners.refuses_shell.load(Ordering::SeqCst);
        self.answer(channel, refuse, session).await?;
        if !refuse {
            self.shell = Some(Running::new(&self.manners));
            session.data(channel, "$ ")?;
        }
        Ok(())
    }

    fn exit(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.shell = None;
        session.exit_status_request(channel, self.manners.status.load(Ordering::SeqCst))?;
        session.eof(channel)?;
        session.close(channel)
    }
}

impl server::Handler for Sshd {
    type Error = russh::Error;

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        shown: &Certificate,
    ) -> Result<Auth, russh::Error> {
        if self.manners.ponders_login.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.manners.certificates.lock().unwrap().push((user.to_owned(), shown.clone()));
        Ok(if self.manners.refuses_login.load(Ordering::SeqCst) { Auth::reject() } else { Auth::Accept })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.manners.refuses_channel.load(Ordering::SeqCst) {
            reply.accept().await;
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        _: u32,
        _: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        assert!(modes.is_empty(), "modes of the device's own");
        *self.manners.size.lock().unwrap() = (cols, rows);
        self.manners.asked.lock().unwrap().push(format!("TERM={term}"));
        self.answer(channel, self.manners.refuses_pty.load(Ordering::SeqCst), session).await
    }

    async fn env_request(
        &mut self,
        _: ChannelId,
        name: &str,
        value: &str,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.manners.asked.lock().unwrap().push(format!("{name}={value}"));
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.start(channel, session).await
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let command = String::from_utf8_lossy(command).into_owned();
        self.manners.asked.lock().unwrap().push(command.clone());
        let attached = self.manners.keepers.lock().unwrap().attach(&command);
        if let Some((attached, first)) = attached {
            self.attached = Some(attached);
            self.answer(channel, false, session).await?;
            return session.data(channel, first);
        }
        self.start(channel, session).await?;
        self.exit(channel, session)
    }

    /// Says back what it hears; `exit` ends it.
    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(attached) = &mut self.attached {
            let answers = self.manners.keepers.lock().unwrap().said(attached, data);
            for answer in answers {
                session.data(channel, answer.encode())?;
            }
            return Ok(());
        }
        if data == b"exit" {
            return self.exit(channel, session);
        }
        if data == b"vanish" {
            return Err(russh::Error::Disconnect);
        }
        session.data(channel, data.to_vec())
    }

    async fn window_change_request(
        &mut self,
        _: ChannelId,
        cols: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        *self.manners.size.lock().unwrap() = (cols, rows);
        Ok(())
    }

    async fn signal(&mut self, _: ChannelId, signal: Sig, _: &mut Session) -> Result<(), russh::Error> {
        self.manners.signals.lock().unwrap().push(format!("{signal:?}"));
        Ok(())
    }
}
