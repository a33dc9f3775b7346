//! How a line of the route table becomes a resource that checks who calls it.

use std::future::{Ready, ready};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, Handler, HttpMessage, HttpRequest, Resource, Responder, Route, web};
use moorline_wire::Code;

use super::Parts;
use crate::problem::Problem;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody who reaches the broker: nothing that would need a login is told.
    Anyone,
    /// Programs on the broker's own machine; in demo mode there are no others.
    Local,
    /// Somebody who is logged in.
    Person,
    /// A program that proves who it is by other means than a login.
    Program,
}

/// Who is logged in: handlers of routes for a [`Who::Person`] take it as an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// The name of the account.
    pub(super) name: String,
}

impl FromRequest for Person {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Only `check` puts it there: a handler on a route for others would fail loudly.
        ready(req.extensions().get::<Person>().cloned().ok_or_else(|| Problem::new(Code::INTERNAL)))
    }
}

/// The route table while it is being read.
#[derive(Default)]
pub(super) struct Routes {
    resources: Vec<(&'static str, Resource)>,
    /// Each route as (method, pattern, who), for the tests.
    pub(super) lines: Vec<(Method, &'static str, Who)>,
}

impl Routes {
    /// The whole table.
    pub(super) fn listed() -> Self {
        let mut routes = Self::default();
        super::routes(&mut routes);
        routes
    }

    /// Begins the resource of a pattern.
    pub(super) fn at(&mut self, pattern: &'static str) -> At<'_> {
        self.resources.push((pattern, web::resource(pattern)));
        At { routes: self, pattern }
    }

    /// Registers every resource, in the order of the table.
    pub(super) fn into_service(self, service: &mut web::ServiceConfig) {
        for (_, resource) in self.resources {
            service.service(resource);
        }
    }
}

/// One resource of the table.
pub(super) struct At<'a> {
    routes: &'a mut Routes,
    pattern: &'static str,
}

macro_rules! methods {
    ($($name:ident $method:ident),*) => {$(
        #[doc = concat!("Who may ", stringify!($method), " it, and what answers.")]
        pub(super) fn $name<F, Args>(self, who: Who, handler: F) -> Self
        where
            F: Handler<Args>,
            Args: FromRequest + 'static,
            F::Output: Responder + 'static,
        {
            self.route(Method::$method, who, handler)
        }
    )*};
}

impl At<'_> {
    methods!(get GET, head HEAD, post POST, patch PATCH, delete DELETE);

    fn route<F, Args>(self, method: Method, who: Who, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.routes.lines.push((method.clone(), self.pattern, who));
        let route = Route::new().method(method).to(handler);
        let route = route.wrap(from_fn(move |req, next| check(who, req, next)));
        if let Some((pattern, resource)) = self.routes.resources.pop() {
            self.routes.resources.push((pattern, resource.route(route)));
        }
        self
    }
}

/// Refuses whoever may not call the route.
async fn check(
    who: Who,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let admitted = match who {
        Who::Anyone | Who::Program => Ok(()),
        Who::Local => local(&req),
        Who::Person => person(&req).map(|person| drop(req.extensions_mut().insert(person))),
    };
    match admitted {
        Ok(()) => next.call(req).await.map(ServiceResponse::map_into_boxed_body),
        // As an answer, not as an `Err`: that would lose the request, and with it the headers.
        Err(problem) => Ok(req.error_response(problem)),
    }
}

fn local(req: &ServiceRequest) -> Result<(), Problem> {
    if req.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        return Ok(());
    }
    Err(Problem::new(Code::POLICY)
        .saying("Metrics are told on the broker's own machine only. Ask for them there."))
}

/// Who is logged in. Demo mode has one administrator; otherwise there are no accounts yet.
fn person(req: &ServiceRequest) -> Result<Person, Problem> {
    let demo = req.app_data::<web::Data<Parts>>().is_some_and(|parts| parts.config.demo);
    if demo {
        return Ok(Person { name: super::me::DEMO.to_owned() });
    }
    Err(Problem::new(Code::LOGIN_EXPIRED).saying(
        "No login is set up on this broker, so nobody can use it yet. Start it with --set demo=true on a loopback \
         address to try it.",
    ))
}
