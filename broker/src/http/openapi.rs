//! The description of the API for programs.

use actix_web::web::Json;
use utoipa::OpenApi;

use super::{devices, me, probe, sessions, sockets};

/// Every route but the pages; a test compares it with the route table.
#[derive(OpenApi)]
#[openapi(
    info(title = "Moorline", description = "Devices that dialled in, and the sessions on them."),
    paths(
        probe::livez,
        probe::readyz,
        probe::metrics,
        document,
        me::show,
        devices::list,
        devices::show,
        devices::change,
        devices::forget,
        sessions::list,
        sessions::create,
        sessions::kill_many,
        sessions::show,
        sessions::kill,
        sessions::ticket,
        sockets::terminal,
        sockets::link,
    )
)]
pub(super) struct Api;

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, body = Object)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}
