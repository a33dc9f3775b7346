//! The server: connections, over TLS or not, and the threads that serve them.
//!
//! This is what `actix_web::HttpServer` puts together, but for the connections that become WebSockets: those go to
//! [`socket::carry`], which keeps no buffers for them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::body::BoxBody;
use actix_http::h1::{Codec, ExpectHandler};
use actix_http::{HttpService, Request, TlsAcceptorConfig};
use actix_service::map_config;
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::{AppConfig, Server, Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error, web};
use moorline_wire::Code;

use super::Parts;
use super::guard::{self, Allowed};
use super::route::Routes;
use crate::actor::Watchdog;
use crate::problem::Problem;
use crate::socket;
use crate::tls::Tls;

/// How long a peer may take to close after we did. It owes us nothing any more.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Serves on a listener that [`super::listen`] took, until it is told to stop.
pub fn serve(
    listener: TcpListener,
    parts: Parts,
    watchdog: Watchdog,
    tls: Option<&Tls>,
) -> Result<(Server, SocketAddr), Problem> {
    let unstarted = |e: io::Error| {
        Problem::new(Code::INTERNAL).saying("The broker could not be started. Look at its log.").because(e)
    };
    let address = listener.local_addr().map_err(unstarted)?;
    let allowed = Arc::new(Allowed::of(&parts.config, address, tls.map(Tls::names)));
    let config = parts.config.clone();
    let workers = match config.http.workers {
        // A keystroke changes threads where its browser and its device are served by different ones, and
        // other threads have work, too: the kernel's, the store's.
        0 => std::thread::available_parallelism().map_or(1, |cores| usize::from(cores).div_ceil(2)),
        workers => workers,
    };
    let server = Server::build()
        .disable_signals()
        // `app` drains before it stops the server; what is left then does not end by itself.
        .shutdown_timeout(1)
        .workers(workers)
        .max_concurrent_connections(config.limits.sockets.div_ceil(workers));
    let leaving = server.graceful_shutdown_signal();
    let leaves = move || {
        let leaving = leaving.clone();
        async move { leaving.notified().await }
    };
    // Made once in each worker's thread, whose sockets and terminals are actors.
    let here = Here { parts, allowed, address };
    let enter = move || {
        watchdog.watch_current();
        here.parts.metrics.watch_this_thread();
        here.clone()
    };
    let listening = match tls {
        None => server.listen("http", listener, move || enter().service(socket::tune, leaves.clone()).tcp()),
        Some(tls) => {
            let tls = tls.server_config()?;
            let handshake = config.timing.tls_handshake;
            server.listen("https", listener, move || {
                let tune = |tls: &TlsStream<TcpStream>| socket::tune(tls.get_ref().0);
                enter().service(tune, leaves.clone()).rustls_0_23_with_config(
                    tls.clone(),
                    TlsAcceptorConfig::default().handshake_timeout(handshake),
                )
            })
        }
    };
    Ok((listening.map_err(unstarted)?.run(), address))
}

/// What each thread serves.
#[derive(Clone)]
struct Here {
    parts: Parts,
    allowed: Arc<Allowed>,
    address: SocketAddr,
}

impl Here {
    /// Serves a connection; `tune` sets it up, and between two requests it ends when the server `leaves`.
    #[expect(clippy::type_complexity, reason = "what actix-http asks of its services, which have no names")]
    fn service<T: AsyncRead + AsyncWrite + Unpin + 'static, L: Future<Output = ()> + 'static>(
        self,
        tune: impl Fn(&T) -> io::Result<()> + 'static,
        leaves: impl Fn() -> L + 'static,
    ) -> HttpService<
        T,
        impl ServiceFactory<
            Request,
            Config = (),
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
            Future: 'static,
            Service: Service<Request, Future: 'static>,
        >,
        BoxBody,
        ExpectHandler,
        impl ServiceFactory<
            (Request, Framed<T, Codec>),
            Config = (),
            Response = (),
            Error = Error,
            InitError = (),
            Future: 'static,
            Service: Service<(Request, Framed<T, Codec>), Future: 'static>,
        >,
    > {
        let timing = &self.parts.config.timing;
        let builder = HttpService::build()
            .keep_alive(timing.http_idle)
            .client_request_timeout(timing.http_header)
            .client_disconnect_timeout(CLOSE_WITHIN)
            .tcp_nodelay(true)
            .local_addr(self.address)
            .graceful_shutdown_signal(leaves)
            .on_connect_ext(move |connection: &T, _| {
                if let Err(e) = tune(connection) {
                    tracing::warn!(error = %e, "could not tune a connection");
                }
            });
        builder
            .upgrade(socket::upgrades(self.app()))
            .finish(map_config(self.app(), |()| AppConfig::default()))
    }

    fn app(
        &self,
    ) -> App<
        impl ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
        > + use<>,
    > {
        App::new()
            .app_data(web::Data::new(self.parts.clone()))
            .app_data(web::Data::from(self.allowed.clone()))
            .wrap(from_fn(guard::pass))
            .configure(|service| Routes::listed().into_service(service))
    }
}
