//! Who is listed, how, and for how long.

use super::*;
use crate::actor::Mailbox;
use crate::news::Change;

const WINDOW: Duration = Duration::from_secs(60);

fn registry() -> Registry {
    Registry::new(Metrics::new(), WINDOW)
}

fn born(registry: &Registry, id: &str) -> Registered {
    let (kind, parent) = (Kind::SshSession, Some(Kind::SessionSupervisor));
    registry.enter(Birth { kind, id: id.to_owned(), parent, mailbox: 4, traced: None }, Arc::default())
}

fn everybody(registry: &Registry) -> Vec<Entry> {
    registry.page(Wanted { limit: 100, ..Wanted::default() }).0
}

fn total(registry: &Registry) -> Total {
    *registry.totals().iter().find(|total| total.kind == Kind::SshSession).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_is_listed_until_its_successor_begins_and_is_unhealthy_for_the_window() {
    let registry = registry();
    born(&registry, "a").ended(Cause::Panicked);
    registry.restarting(Kind::SshSession, "a");
    let [waits] = everybody(&registry).try_into().unwrap();
    assert_eq!((waits.state, waits.healthy, waits.restarts), (State::Restarting, false, 1));
    assert_eq!(waits.last_failure.map(|failure| failure.cause), Some(Cause::Panicked));
    assert_eq!((total(&registry).alive, total(&registry).unhealthy), (0, 1));

    let successor = born(&registry, "a");
    let [lives] = everybody(&registry).try_into().unwrap();
    assert_eq!((lives.state, lives.healthy, lives.restarts), (State::Live, false, 1));
    assert!(lives.number > waits.number);
    tokio::time::advance(WINDOW + Duration::from_secs(1)).await;
    let [lives] = everybody(&registry).try_into().unwrap();
    assert_eq!((lives.healthy, lives.restarts, lives.uptime.as_secs()), (true, 0, 61));
    assert!(lives.last_failure.is_some(), "what happened once is still told");
    drop(successor);
    assert!(everybody(&registry).is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_given_up_is_listed_for_the_window_and_then_forgotten() {
    let registry = registry();
    for _ in 0..20 {
        born(&registry, "a").ended(Cause::Panicked);
    }
    registry.gave_up(Kind::SshSession, "a");
    let [given_up] = everybody(&registry).try_into().unwrap();
    assert_eq!((given_up.state, given_up.restarts), (State::GaveUp, FAILURES_MAX));
    tokio::time::advance(WINDOW + Duration::from_secs(1)).await;
    assert!(everybody(&registry).is_empty());
    assert!(registry.lock().failed.is_empty());
}

#[tokio::test]
async fn those_that_fail_under_ever_new_names_are_not_kept_without_bound() {
    let registry = registry();
    for n in 0..FAILED_MAX + 100 {
        born(&registry, &n.to_string()).ended(Cause::Panicked);
    }
    assert_eq!(registry.lock().listed.len(), FAILED_MAX);
}

#[tokio::test]
async fn a_page_ends_at_its_limit_and_the_next_one_goes_on_after_it() {
    let registry = registry();
    let _living: Vec<_> = (0..5).map(|n| born(&registry, &n.to_string())).collect();
    born(&registry, "failed").ended(Cause::Panicked);
    let (first, next) = registry.page(Wanted { limit: 4, ..Wanted::default() });
    let (second, none) = registry.page(Wanted { limit: 4, after: next, ..Wanted::default() });
    let ids: Vec<_> = first.iter().chain(&second).map(|entry| entry.id.to_string()).collect();
    assert_eq!((ids, none), (["0", "1", "2", "3", "4", "failed"].map(str::to_owned).to_vec(), None));
    let (unhealthy, next) = registry.page(Wanted { limit: 1, unhealthy: true, ..Wanted::default() });
    assert_eq!((&*unhealthy[0].id, next), ("failed", None));
    let kind = Some(Kind::UserConnection);
    assert!(registry.page(Wanted { kind, limit: 4, ..Wanted::default() }).0.is_empty());
}

#[tokio::test]
async fn beginning_failing_and_ending_are_news() {
    let registry = registry();
    born(&registry, "unheard");
    let mut heard = registry.news().listen();
    born(&registry, "a").ended(Cause::Panicked);
    registry.restarting(Kind::SshSession, "a");
    drop(born(&registry, "a"));
    let mut told = Vec::new();
    while let Ok(Change::Actor(entry)) = heard.try_recv() {
        told.push((entry.number, entry.state));
    }
    let expected = [
        (2, State::Live),
        (2, State::Failed),
        (2, State::Restarting),
        (2, State::Ended),
        (3, State::Live),
        (3, State::Ended),
    ];
    assert_eq!(told, expected);
}

/// A list is asked for each second; with 10,000 devices there are as many actors and more.
#[test]
fn a_list_of_ten_thousand_and_the_totals_cost_a_few_milliseconds() {
    let registry = registry();
    let _living: Vec<_> = (0..10_000).map(|n| born(&registry, &format!("s-{n:026}"))).collect();
    let began = Instant::now();
    for _ in 0..10 {
        let (page, next) = registry.page(Wanted { limit: 20_000, ..Wanted::default() });
        assert_eq!((page.len(), next), (10_000, None));
        assert_eq!(total(&registry).alive, 10_000);
        registry.tell_metrics();
    }
    let each = began.elapsed() / 10;
    println!("a list, the totals and the metrics of 10,000 actors: {each:?}");
    // Many times what it takes, so that a busy machine is none of its failures; a look-up of each by each
    // would take seconds.
    assert!(each < Duration::from_millis(250), "{each:?}");
}

#[actix::test]
async fn what_waits_is_counted_until_it_is_handled_or_dropped() {
    use actix::{Actor, Context, Handler, Message};

    struct Clerk;
    crate::actor::takes_mail!(Clerk);
    impl Actor for Clerk {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "u32")]
    struct Ask(Arc<Depth>);

    impl Handler<Ask> for Clerk {
        type Result = u32;
        fn handle(&mut self, Ask(depth): Ask, _: &mut Context<Self>) -> u32 {
            depth.now()
        }
    }

    let depth = Arc::<Depth>::default();
    let address = Clerk::create(|ctx| {
        ctx.set_mailbox_capacity(8);
        Clerk
    });
    let mailbox = Mailbox::new(address, depth.clone());
    for _ in 0..3 {
        mailbox.try_send(Ask(depth.clone())).unwrap_or_else(|_| panic!("there is room"));
    }
    assert_eq!((depth.now(), depth.high()), (3, 3));
    // Three were handled before this one, which itself does not wait while it is.
    assert_eq!(mailbox.send(Ask(depth.clone())).await, Ok(0));
    assert_eq!((depth.now(), depth.high()), (0, 4));
    // Given up before it was handled.
    drop(mailbox.send(Ask(depth.clone())));
    assert_eq!(mailbox.send(Ask(depth.clone())).await, Ok(0));
    assert_eq!(depth.now(), 0);
}
