//! The description of the API for programs.

use actix_web::web::Json;
use utoipa::OpenApi;

use super::{
    actors, audit, devices, events, grants, install_keys, log, login, me, people, private_keys, probe,
    provider, second, session_list, sessions, sockets, standing, tokens,
};

/// Every route but the pages; a test compares it with the route table.
#[derive(OpenApi)]
#[openapi(
    info(title = "Moorline", description = "Devices that dialled in, and the sessions on them."),
    paths(
        probe::livez,
        probe::readyz,
        probe::metrics,
        document,
        provider::ways,
        provider::begin,
        provider::callback,
        provider::link,
        provider::unlink,
        login::log_in,
        login::log_out,
        login::invitation,
        login::accept,
        login::logins,
        login::end_login,
        login::change_password,
        me::show,
        second::begin,
        second::confirm,
        second::renew_codes,
        second::end,
        tokens::list,
        tokens::create,
        tokens::end,
        people::list,
        people::show,
        people::create,
        people::change,
        people::remove,
        people::invite,
        people::reset_totp,
        people::unlink,
        grants::list,
        grants::create,
        grants::remove,
        grants::explain,
        audit::list,
        devices::list,
        devices::show,
        devices::change,
        devices::forget,
        private_keys::show,
        private_keys::set,
        private_keys::remove,
        standing::approve,
        standing::rotate_key,
        standing::revoke,
        install_keys::list,
        install_keys::create,
        install_keys::end,
        session_list::list,
        sessions::create,
        sessions::kill_many,
        sessions::show,
        sessions::kill,
        sessions::ticket,
        sockets::terminal,
        actors::list,
        events::listen,
        log::show,
        log::change,
        sockets::link,
    )
)]
pub(super) struct Api;

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, body = Object)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}
