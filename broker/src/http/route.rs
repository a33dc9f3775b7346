//! How a line of the route table becomes a resource that checks who calls it.

use std::future::{Ready, ready};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, Handler, HttpMessage, HttpRequest, Resource, Responder, Route, web};
use moorline_wire::Code;

use super::body::Named;
use super::peer::is_proxied;
use super::{Parts, cookie};
use crate::access::{Act, Right};
use crate::identity::{Caller, Pass, SecondFactor};
use crate::problem::Problem;

/// Who may call a route: asked before its handler is, also for the device or session that its path names. One
/// that somebody may not see is answered as one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody who reaches the broker: nothing that would need a login is told.
    Anyone,
    /// Programs on the broker's own machine; in demo mode there are no others.
    Local,
    /// Whoever is logged in. The handler gives what is theirs to see, and asks for what its body names.
    Person,
    /// The same, also if they have yet to set up the second factor that the broker requires.
    Known,
    /// Whoever is logged in by a browser: nothing that an API token could do.
    Login,
    /// The same, also if they have yet to set up the second factor that the broker requires.
    Entering,
    /// Administrators.
    Admin,
    /// Administrators who change what lets people or devices in: accounts, what these are given, install keys. Not in
    /// demo mode: everybody who reached the broker could make some that count when its folder is used without demo mode.
    Lasting,
    /// Who may see the device.
    SeesDevice,
    /// Who may do this with the device.
    OnDevice(Act),
    /// Who has this right to the session.
    OnSession(Right),
    /// A program that proves who it is by other means than a login.
    Program,
}

/// Who is logged in: handlers of routes for those who are logged in take it as an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// The name of the account.
    pub(super) name: String,
    /// What they may, and with what they came.
    pub(super) caller: Caller,
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
    methods!(get GET, head HEAD, post POST, put PUT, patch PATCH, delete DELETE);

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
        _ => admit(who, &req).await.map(|person| drop(req.extensions_mut().insert(person))),
    };
    match admitted {
        Ok(()) => next.call(req).await.map(ServiceResponse::map_into_boxed_body),
        // As an answer, not as an `Err`: that would lose the request, and with it the headers.
        Err(problem) => Ok(req.error_response(problem)),
    }
}

fn local(req: &ServiceRequest) -> Result<(), Problem> {
    let own = req.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if own && !is_proxied(req.headers()) {
        return Ok(());
    }
    Err(Problem::new(Code::POLICY)
        .saying("Metrics are told on the broker's own machine only. Ask for them there."))
}

/// Who is logged in, if they may call the route.
async fn admit(who: Who, req: &ServiceRequest) -> Result<Person, Problem> {
    let parts = req.app_data::<web::Data<Parts>>().ok_or_else(|| Problem::new(Code::INTERNAL))?;
    let caller = caller(parts, req).await?;
    let (subject, policy) = (&caller.subject, || Problem::new(Code::POLICY));
    let half_is_enough = matches!(who, Who::Known | Who::Entering);
    if caller.second_factor == SecondFactor::Missing && !half_is_enough {
        return Err(Problem::new(Code::SECOND_FACTOR_MISSING));
    }
    match who {
        Who::Login | Who::Entering if matches!(caller.pass, Pass::Token(..)) => {
            return Err(policy().saying("An API token cannot do this. Log in with a browser."));
        }
        Who::Admin | Who::Lasting if !subject.administers() => return Err(policy()),
        Who::Lasting if caller.pass == Pass::Demo => {
            return Err(policy().saying(
                "Demo mode lets nobody in for later: everybody who reaches it may everything. Start the broker without it to \
                 share it with others.",
            ));
        }
        Who::SeesDevice => parts.warden.device(subject, &named(req)?, None).await.map(drop)?,
        Who::OnDevice(act) => parts.warden.device(subject, &named(req)?, Some(act)).await.map(drop)?,
        Who::OnSession(right) => parts.warden.session(subject, &named(req)?, right).await?,
        Who::Anyone | Who::Local | Who::Program | Who::Person | Who::Known => {}
        Who::Login | Who::Entering | Who::Admin | Who::Lasting => {}
    }
    Ok(Person { name: subject.name.clone(), caller })
}

/// What the path names; what is not even of an id's form is as unknown as any other.
fn named<T: Named>(req: &ServiceRequest) -> Result<T, Problem> {
    let id = req.match_info().get("id").and_then(|text| text.parse().ok());
    id.ok_or_else(|| Problem::new(T::UNKNOWN))
}

/// Who is logged in: by an API token, if one is shown, or else by the cookie of a browser.
async fn caller(parts: &Parts, req: &ServiceRequest) -> Result<Caller, Problem> {
    if parts.config.demo {
        return Ok(Caller::demo());
    }
    // A proxy in front may have a password of its own, which browsers then send along: that is not for us.
    let header = req.headers().get(header::AUTHORIZATION).and_then(|header| header.to_str().ok());
    if let Some(token) = header.and_then(|text| text.strip_prefix("Bearer ")) {
        return parts.identity.of_token(token).await;
    }
    if let Some(cookie) = cookie::shown_by(req) {
        return parts.identity.of_cookie(&cookie).await;
    }
    let nobody = Problem::new(Code::LOGIN_EXPIRED);
    Err(if parts.store.has_administrator().await? {
        nobody.saying("Nobody is logged in here. Log in to go on.")
    } else {
        nobody.saying(
            "No login is set up on this broker, so nobody can use it yet. Run moorline-broker init --dir DIR on its \
             machine and open the link that it prints.",
        )
    })
}
