//! People, logins, tokens and invitations over a store on a real file.

use tempfile::TempDir;

use super::*;
use crate::access::Scope;
use crate::store::FILE;

mod second;

const PASSWORD: &str = "correct horse battery";

struct World {
    identity: Identity,
    store: Store,
    metrics: Metrics,
    _folder: TempDir,
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn from(address: &str) -> Whence {
    Whence { address: address.parse().unwrap(), agent: "test\u{1b}[31m".to_owned() }
}

/// Everybody of the tests but those who are throttled by it.
fn home() -> Whence {
    from("127.0.0.1")
}

impl World {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        Self::over(tempfile::tempdir().unwrap(), config).await
    }

    /// Over the store of a folder, as a broker that was started again.
    async fn over(folder: TempDir, config: Config) -> Self {
        let (config, metrics) = (Arc::new(config), Metrics::new());
        let path = folder.path().join("data").join(FILE);
        let store = Store::open(&path, &config.timing, metrics.clone()).await.unwrap();
        let identity = Identity::new(config, store.clone(), metrics.clone());
        Self { identity, store, metrics, _folder: folder }
    }

    /// A person with [`PASSWORD`].
    async fn person(&self, name: &str, roles: &[Role]) -> PersonRow {
        let row = new_person(name, roles.to_vec(), Vec::new()).unwrap();
        self.store.add_person(&row).await.unwrap();
        let invitation = self.identity.invite(Some(&row.id)).await.unwrap();
        let invitation = secret(invitation.reveal());
        self.identity.accept(invitation, None, secret(PASSWORD), None, &home()).await.unwrap();
        row
    }

    async fn log_in(&self, name: &str, password: &str) -> Result<LoggedIn, Problem> {
        self.identity.log_in(name, secret(password), None, &home()).await
    }

    async fn hash(&self, name: &str) -> Zeroizing<String> {
        self.store.credentials(name).await.unwrap().unwrap().hash.unwrap()
    }

    async fn cookie(&self, name: &str) -> String {
        self.log_in(name, PASSWORD).await.unwrap().secret.reveal().to_owned()
    }

    /// Whether a cookie is worth something.
    async fn works(&self, cookie: &str) -> bool {
        match self.identity.of_cookie(cookie).await {
            Ok(_) => true,
            Err(problem) => {
                assert_eq!(problem.code, Code::LOGIN_EXPIRED);
                false
            }
        }
    }

    fn failures(&self, kind: &str) -> f64 {
        let text = String::from_utf8(self.metrics.text()).unwrap();
        let line = format!("moorline_auth_failures_total{{kind=\"{kind}\"}} ");
        text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0.0, |value| value.parse().unwrap())
    }
}

#[tokio::test]
async fn the_first_administrator_comes_by_an_invitation_that_works_once() {
    let world = World::new().await;
    assert!(!world.store.has_administrator().await.unwrap());
    let before = world.identity.invite(None).await.unwrap();
    let invitation = world.identity.invite(None).await.unwrap();
    let accept = async |shown: &str, name, password| {
        world.identity.accept(secret(shown), Some(name), secret(password), None, &home()).await
    };
    // The one before is replaced, an invented one never was, a bad password or name uses nothing up.
    for shown in [before.reveal(), "invented", ""] {
        assert_eq!(accept(shown, "anna", PASSWORD).await.err().unwrap().code, Code::LOGIN_REFUSED);
    }
    assert_eq!(accept(invitation.reveal(), "anna", "short").await.err().unwrap().code, Code::BAD_REQUEST);
    for name in ["", "demo", "a b", "Ännä"] {
        assert_eq!(accept(invitation.reveal(), name, PASSWORD).await.err().unwrap().code, Code::BAD_REQUEST);
    }
    let logged_in = accept(invitation.reveal(), " Anna", PASSWORD).await.unwrap();
    assert_eq!((logged_in.person.name.as_str(), logged_in.person.roles), ("anna", vec![Role::Admin]));
    let caller = world.identity.of_cookie(logged_in.secret.reveal()).await.unwrap();
    assert!(caller.subject.administers());
    assert!(world.store.has_administrator().await.unwrap());
    assert_eq!(accept(invitation.reveal(), "eve", PASSWORD).await.err().unwrap().code, Code::LOGIN_REFUSED);
    assert_eq!(world.failures("invitation"), 4.0);
}

#[tokio::test]
async fn an_invitation_ends_and_a_taken_name_leaves_it_as_it_is() {
    let world = World::new().await;
    world.person("anna", &[Role::Admin]).await;
    let hashed = Hashed::of("over");
    world.store.invite(hashed, None, wall() - jiff::SignedDuration::from_secs(1)).await.unwrap();
    let late = world.identity.accept(secret("over"), Some("eve"), secret(PASSWORD), None, &home()).await;
    assert_eq!(late.err().unwrap().code, Code::LOGIN_REFUSED);
    let invitation = world.identity.invite(None).await.unwrap();
    let taken = world
        .identity
        .accept(secret(invitation.reveal()), Some("anna"), secret(PASSWORD), None, &home())
        .await;
    assert_eq!(taken.err().unwrap().code, Code::BAD_REQUEST);
    let other = world
        .identity
        .accept(secret(invitation.reveal()), Some("eve"), secret(PASSWORD), None, &home())
        .await;
    assert_eq!(other.unwrap().person.name, "eve");
}

#[tokio::test]
async fn whoever_may_not_log_in_gets_one_answer_whatever_the_reason() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    let gone = world.person("gone", &[Role::Operator]).await;
    world.store.remove_person(&gone.id).await.unwrap();
    let away = world.person("away", &[Role::Operator]).await;
    let away = PersonRow { state: PersonState::Disabled, ..away };
    world.store.change_person(&away).await.unwrap();
    let new = new_person("new", vec![Role::Operator], Vec::new()).unwrap();
    world.store.add_person(&new).await.unwrap();
    let mut answers = Vec::new();
    for (name, password) in [
        ("anna", "not the password"),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("away", PASSWORD),
        ("new", PASSWORD),
        ("new", ""),
        ("no name at all", PASSWORD),
        ("", ""),
    ] {
        let problem = world.log_in(name, password).await.err().unwrap();
        answers.push((problem.code, problem.text));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].0, Code::LOGIN_REFUSED);
    assert_eq!(world.failures("password"), 8.0);
    assert!(world.log_in(" ANNA ", PASSWORD).await.is_ok(), "a name is a name however it is typed");
}

#[tokio::test]
async fn an_account_is_locked_for_a_while_whether_it_is_there_or_not() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    world.person("eve", &[Role::Operator]).await;
    for name in ["anna", "nobody"] {
        for _ in 0..6 {
            assert_eq!(world.log_in(name, "wrong").await.err().unwrap().code, Code::LOGIN_REFUSED);
        }
        // The right password as well: or a guess that is right would show.
        let locked = world.log_in(name, PASSWORD).await.err().unwrap();
        assert_eq!((locked.code, locked.text.starts_with("Too many attempts failed.")), (Code::LIMIT, true));
    }
    assert_eq!(world.failures("throttled"), 2.0);
    assert!(world.log_in("eve", PASSWORD).await.is_ok(), "others are not locked");
}

#[tokio::test]
async fn an_address_that_tries_many_accounts_is_held_back_and_no_other() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    let street = from("192.0.2.7");
    for n in 0..21 {
        let refused = world.identity.log_in(&format!("guess{n}"), secret(PASSWORD), None, &street).await;
        assert_eq!(refused.err().unwrap().code, Code::LOGIN_REFUSED);
    }
    let refused = world.identity.log_in("anna", secret(PASSWORD), None, &street).await;
    assert_eq!(refused.err().unwrap().code, Code::LIMIT);
    assert!(world.identity.log_in("anna", secret(PASSWORD), None, &from("192.0.2.8")).await.is_ok());
}

#[tokio::test]
async fn a_flood_of_guesses_at_once_gets_no_more_tries_than_one_after_the_other() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    let guesses = (0..40).map(|_| world.log_in("anna", "wrong"));
    let answers = futures_util::future::join_all(guesses).await;
    let tried = answers.iter().filter(|answer| answer.as_ref().err().unwrap().code == Code::LOGIN_REFUSED);
    // Two are hashed at once: one may have begun when the other was found wrong.
    assert!((6..=7).contains(&tried.count()));
}

#[tokio::test]
async fn a_login_lasts_as_long_as_it_is_used_and_not_longer_than_it_may() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let hours = |hours: i64| wall() - jiff::SignedDuration::from_hours(hours);
    for (created, seen, works) in
        [(0, 0, true), (11, 11, true), (12, 12, false), (24, 1, true), (168, 1, false)]
    {
        let login = LoginRow {
            id: LoginId::fresh().unwrap(),
            person: anna.id.clone(),
            created: hours(created),
            seen: hours(seen),
            address: String::new(),
            agent: String::new(),
            way: Way::Password,
        };
        let token = Token::fresh().unwrap();
        let hash = world.hash("anna").await;
        let rests = Rests::Password { hash: Some(&hash), second_factor: false };
        assert!(world.store.add_login(token.hashed(), &login, rests).await.unwrap());
        // Looking does not make it younger, using does.
        let pass = Pass::Login(login.id.clone(), token.hashed());
        assert_eq!(world.identity.still(&pass, Use::Looks).await.is_ok(), works, "{created} {seen}");
        let seen_at = async || {
            let logins = world.store.logins(&anna.id).await.unwrap();
            logins.into_iter().find(|row| row.id == login.id).unwrap().seen
        };
        assert_eq!(seen_at().await.as_second(), login.seen.as_second());
        assert_eq!(world.works(token.reveal()).await, works, "{created} {seen}");
        assert_eq!(seen_at().await.as_second() > login.seen.as_second(), works && seen > 0);
    }
    assert_eq!(world.failures("login"), 2.0);
    world.identity.forget_expired().await.unwrap();
    assert_eq!(world.store.logins(&anna.id).await.unwrap().len(), 3 + 1, "and the one of the invitation");
}

#[tokio::test]
async fn a_login_ends_when_its_person_ends_it_logs_out_or_changes_the_password() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let (first, second, third) =
        (world.cookie("anna").await, world.cookie("anna").await, world.cookie("anna").await);
    let mut changes = world.identity.changes();
    let caller = world.identity.of_cookie(&first).await.unwrap();
    world.identity.log_out(&caller).await.unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert!(!world.works(&first).await && world.works(&second).await);
    let caller = world.identity.of_cookie(&second).await.unwrap();
    let wrong =
        world.identity.change_password(&caller, secret("wrong"), secret("another good one"), &home()).await;
    assert_eq!(wrong.err().unwrap().code, Code::LOGIN_REFUSED);
    assert!(world.works(&third).await);
    let changed =
        world.identity.change_password(&caller, secret(PASSWORD), secret("another good one"), &home()).await;
    let fresh = changed.unwrap().secret;
    assert!(world.works(fresh.reveal()).await);
    assert!(!world.works(&second).await && !world.works(&third).await);
    assert!(changes.has_changed().unwrap());
    assert_eq!(world.store.logins(&anna.id).await.unwrap().len(), 1);
    assert_eq!(world.log_in("anna", PASSWORD).await.err().unwrap().code, Code::LOGIN_REFUSED);
    assert!(world.log_in("anna", "another good one").await.is_ok());
}

#[tokio::test]
async fn a_new_login_is_another_secret_and_too_many_end_the_oldest() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let first = world.cookie("anna").await;
    let hash = world.hash("anna").await;
    for _ in 0..49 {
        let person = world.store.person(&anna.id).await.unwrap().unwrap();
        let rests = Rests::Password { hash: Some(&hash), second_factor: false };
        world.identity.begin(person, rests, &home()).await.unwrap();
    }
    assert_eq!(world.store.logins(&anna.id).await.unwrap().len(), 50);
    assert!(world.works(&first).await);
    let last = world.cookie("anna").await;
    assert!(world.works(&last).await && !world.works(&first).await);
    let logins = world.store.logins(&anna.id).await.unwrap();
    assert_eq!((logins.len(), logins[0].agent.as_str()), (50, "test[31m"), "no escape sequences");
}

async fn token(world: &World, person: &PersonRow, expires: jiff::Timestamp) -> (TokenId, String) {
    let row = TokenRow {
        id: TokenId::fresh().unwrap(),
        person: person.id.clone(),
        label: "ci".into(),
        scopes: vec![Scope::Admin],
        created: wall(),
        expires,
        used: None,
    };
    let secret = world.identity.new_token(&row).await.unwrap();
    (row.id, secret.to_string())
}

#[tokio::test]
async fn a_token_is_worth_what_its_owner_is_until_it_ends() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Admin]).await;
    let later = wall() + jiff::SignedDuration::from_hours(1);
    let (id, secret) = token(&world, &anna, later).await;
    assert!(secret.starts_with("mlt_") && secret.len() == 47);
    let caller = world.identity.of_token(&secret).await.unwrap();
    assert!(caller.subject.administers() && matches!(caller.pass, Pass::Token(..)));
    assert!(world.store.tokens(None).await.unwrap()[0].used.is_some());
    // Demoted: still let in, as what they are now.
    world.store.change_person(&PersonRow { roles: Vec::new(), ..anna.clone() }).await.unwrap();
    assert!(!world.identity.of_token(&secret).await.unwrap().subject.administers());
    world.store.change_person(&PersonRow { state: PersonState::Disabled, ..anna.clone() }).await.unwrap();
    assert_eq!(world.identity.of_token(&secret).await.unwrap_err().code, Code::LOGIN_EXPIRED);
    world.store.change_person(&anna).await.unwrap();
    assert!(world.identity.of_token(&secret).await.is_ok());
    assert!(world.store.end_token(&id, Some(&anna.id)).await.unwrap());
    let (_, over) = token(&world, &anna, wall() - jiff::SignedDuration::from_secs(1)).await;
    let cookie = world.cookie("anna").await;
    for shown in [secret.as_str(), &over, "mlt_invented", "", &cookie, &format!("mlt_{cookie}")] {
        assert_eq!(world.identity.of_token(shown).await.unwrap_err().code, Code::LOGIN_EXPIRED, "{shown}");
    }
    assert_eq!(world.failures("token"), 7.0);
}

#[tokio::test]
async fn a_removed_person_leaves_nothing_but_a_name_that_nobody_gets() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let cookie = world.cookie("anna").await;
    assert!(world.store.remove_person(&anna.id).await.unwrap());
    assert!(!world.store.remove_person(&anna.id).await.unwrap());
    assert!(!world.works(&cookie).await);
    assert_eq!(world.store.person(&anna.id).await.unwrap(), None);
    let again = new_person("anna", vec![Role::Operator], Vec::new()).unwrap();
    assert_eq!(world.store.add_person(&again).await.unwrap_err().code, Code::BAD_REQUEST);
}

/// What stands in the files of the store is worth nothing to whoever reads them.
#[tokio::test]
async fn no_secret_is_in_the_files_of_the_store() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Admin]).await;
    let invitation = world.identity.invite(None).await.unwrap().reveal().to_owned();
    let (_, token) = token(&world, &anna, wall() + jiff::SignedDuration::from_hours(1)).await;
    let cookie = world.cookie("anna").await;
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(world._folder.path().join("data")).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("anna") && has("$argon2id$v=19$m=19456,t=2,p=1$"), "it looks at the right files");
    for secret in [PASSWORD, &invitation, &cookie, &token[4..]] {
        assert!(!has(secret));
    }
}

/// The least of several tries says how much work it is, whatever else the machine does; without a hash to compare it
/// would be a fiftieth.
#[tokio::test]
async fn a_name_that_is_not_there_takes_as_long_as_one_that_is() {
    let mut config = Config::default();
    config.login.failures = 1000;
    let world = World::with(config).await;
    world.person("anna", &[Role::Operator]).await;
    let new = new_person("new", vec![Role::Operator], Vec::new()).unwrap();
    world.store.add_person(&new).await.unwrap();
    let names = ["anna", "nobody", "new", "no name at all"];
    let mut least = [std::time::Duration::MAX; 4];
    for _ in 0..8 {
        for (name, least) in names.iter().zip(&mut least) {
            let began = clock::now();
            assert_eq!(world.log_in(name, "wrong").await.err().unwrap().code, Code::LOGIN_REFUSED);
            *least = (*least).min(clock::now().saturating_duration_since(began));
        }
    }
    let (shortest, longest) = (least.iter().min().unwrap(), least.iter().max().unwrap());
    assert!(*longest < *shortest * 5, "{least:?}");
}
