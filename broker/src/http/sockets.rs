//! The two WebSockets: a browser's terminal and an agent's link.

use actix_web::web::{Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use moorline_wire::{Code, SessionId};

use super::Parts;
use super::answer::ErrorBody;
use super::body::Id;
use super::guard::RequestId;
use super::peer;
use super::route::Person;
use crate::identity::Use;
use crate::problem::Problem;
use crate::socket::{self, SocketKind};
use crate::user::Visitor;

/// A terminal: WebSocket `moorline.term.v1`. The first message holds a ticket or a resume token.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/terminal", params(("id" = String, Path)),
    responses((status = 101), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn terminal(
    req: HttpRequest,
    payload: Payload,
    parts: Data<Parts>,
    person: Person,
    Id(session): Id<SessionId>,
) -> Result<HttpResponse, Problem> {
    // Whether it is over is told on the socket, with its ending.
    let standing = parts.warden.standing(&person.caller.pass, &session, Use::Works).await?;
    let traced = super::sessions::traced(&parts, &session).await?;
    let timing = &parts.config.timing;
    let kind = SocketKind {
        protocol: moorline_wire::term::SUBPROTOCOL,
        frame_max: parts.config.limits.frame_term.bytes(),
        ping: Some((timing.user_ping, timing.user_dead)),
        close_number: moorline_wire::term::close_number,
    };
    let (answer, ends) = socket::upgrade(&req, payload, kind)?;
    let request_id = req.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let visitor = Visitor {
        person: person.name,
        peer: req.peer_addr(),
        address: peer::address(&req, &parts),
        request_id,
        pass: person.caller.pass,
        standing,
        traced,
    };
    parts.users.accept(ends, session, visitor);
    Ok(answer)
}

/// An agent's link: WebSocket `moorline.link.v1`. The agent proves who it is in the greeting.
#[utoipa::path(get, path = "/agent/v1/link", responses((status = 101), (status = 403, body = ErrorBody)))]
pub(super) async fn link(
    req: HttpRequest,
    payload: Payload,
    parts: Data<Parts>,
) -> Result<HttpResponse, Problem> {
    // Whatever sends an Origin is a browser, and no browser is an agent.
    if req.headers().contains_key("origin") {
        return Err(Problem::new(Code::ORIGIN));
    }
    let peer = req.peer_addr().ok_or_else(|| Problem::new(Code::INTERNAL))?;
    let kind = SocketKind {
        protocol: moorline_wire::link::SUBPROTOCOL,
        frame_max: parts.config.limits.frame_link.bytes(),
        // The link has pings of its own.
        ping: None,
        close_number: Code::number,
    };
    let (answer, ends) = socket::upgrade(&req, payload, kind)?;
    let devices = parts.devices.clone();
    // It ends with the socket, whose ends it owns.
    actix_web::rt::spawn(async move { devices.accept(ends, peer).await });
    Ok(answer)
}
