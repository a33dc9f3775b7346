//! Faults on purpose, for the suite that proves what sessions survive. The routes exist only in a
//! broker that was started with `MOORLINE_TEST_FAULTS=1`.

use actix_web::HttpResponse;
use actix_web::web::Data;
use moorline_wire::SessionId;

use super::Parts;
use super::body::Id;
use crate::problem::Problem;

/// Whether this broker may be made to fail.
pub(super) fn allowed() -> bool {
    std::env::var_os("MOORLINE_TEST_FAULTS").is_some_and(|value| value == "1")
}

/// The actor of this session panics.
pub(super) async fn panic(parts: Data<Parts>, Id(id): Id<SessionId>) -> Result<HttpResponse, Problem> {
    tracing::warn!(session = %id, "session is made to fail");
    parts.sessions.panic_in(&id).await?;
    Ok(HttpResponse::NoContent().finish())
}
