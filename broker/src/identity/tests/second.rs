//! The second factor, and what may change between the look at a password and the login that rests on it.

use super::*;
use crate::identity::totp;

/// An authenticator: it shows a code that was not taken yet, as the next one would be a moment later.
struct Authenticator {
    secret: Vec<u8>,
    shown: i64,
}

impl Authenticator {
    fn of(enrolment: &Enrolment) -> Self {
        let secret = data_encoding::BASE32_NOPAD.decode(enrolment.secret.as_bytes()).unwrap();
        Self { secret, shown: 0 }
    }

    fn next(&mut self) -> Secret {
        self.shown = (self.shown + 1).max(wall().as_second() / 30 - 1);
        self.again()
    }

    fn again(&self) -> Secret {
        secret(&totp::code_at(&self.secret, self.shown))
    }
}

impl World {
    async fn log_in_with(&self, name: &str, code: Option<&Secret>) -> Result<LoggedIn, Problem> {
        self.identity.log_in(name, secret(PASSWORD), code, &home()).await
    }

    /// Sets a second factor up; gives the authenticator, the recovery codes and the login it was done with.
    async fn enrolled(&self, name: &str) -> (Authenticator, Vec<Zeroizing<String>>, String) {
        let cookie = self.cookie(name).await;
        let caller = self.identity.of_cookie(&cookie).await.unwrap();
        let enrolment = self.identity.begin_totp(&caller, secret(PASSWORD), &home()).await.unwrap();
        let mut authenticator = Authenticator::of(&enrolment);
        let codes = self.identity.confirm_totp(&caller, &authenticator.next()).await.unwrap();
        (authenticator, codes, cookie)
    }
}

fn refused<T>(outcome: Result<T, Problem>) -> Code {
    outcome.err().expect("it was not refused").code
}

#[tokio::test]
async fn a_second_factor_counts_once_it_is_confirmed_and_is_then_asked_for() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    let (other, cookie) = (world.cookie("anna").await, world.cookie("anna").await);
    let caller = world.identity.of_cookie(&cookie).await.unwrap();
    assert_eq!(caller.second_factor, SecondFactor::Off);
    let wrong = world.identity.begin_totp(&caller, secret("wrong"), &home()).await;
    assert_eq!(refused(wrong), Code::LOGIN_REFUSED);
    assert_eq!(refused(world.identity.confirm_totp(&caller, &secret("000000")).await), Code::BAD_REQUEST);
    let begun = world.identity.begin_totp(&caller, secret(PASSWORD), &home()).await.unwrap();
    assert!(begun.uri.contains(&format!("secret={}&issuer=moorline", *begun.secret)), "{}", *begun.uri);
    // Begun, and begun anew: nothing is asked for yet, and only the last secret counts.
    let again = world.identity.begin_totp(&caller, secret(PASSWORD), &home()).await.unwrap();
    assert!(world.log_in("anna", PASSWORD).await.is_ok());
    let mut first = Authenticator::of(&begun);
    assert_eq!(refused(world.identity.confirm_totp(&caller, &first.next()).await), Code::CODE_REFUSED);
    let mut authenticator = Authenticator::of(&again);
    let codes = world.identity.confirm_totp(&caller, &authenticator.next()).await.unwrap();
    assert_eq!((codes.len(), world.store.recovery_codes(&caller.id.unwrap()).await.unwrap()), (10, 10));
    // Logins from before, made without, are over; the one it was done with goes on.
    assert!(world.works(&cookie).await && !world.works(&other).await);
    assert_eq!(refused(world.log_in("anna", PASSWORD).await), Code::SECOND_FACTOR);
    assert_eq!(refused(world.log_in("anna", "wrong").await), Code::LOGIN_REFUSED);
    let wrong_password =
        world.identity.log_in("anna", secret("wrong"), Some(&authenticator.next()), &home()).await;
    assert_eq!(refused(wrong_password), Code::LOGIN_REFUSED);
    assert!(world.log_in_with("anna", Some(&authenticator.again())).await.is_ok(), "it was not used up");
    let caller = world.identity.of_cookie(&cookie).await.unwrap();
    assert_eq!(caller.second_factor, SecondFactor::On);
    let twice = world.identity.begin_totp(&caller, secret(PASSWORD), &home()).await;
    assert_eq!(refused(twice), Code::BAD_REQUEST);
}

#[tokio::test]
async fn no_code_is_taken_twice_not_even_after_a_restart() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    let (mut authenticator, ..) = world.enrolled("anna").await;
    let replayed = world.log_in_with("anna", Some(&authenticator.again())).await;
    assert_eq!(refused(replayed), Code::CODE_REFUSED, "it confirmed the second factor");
    assert!(world.log_in_with("anna", Some(&authenticator.next())).await.is_ok());
    assert_eq!(refused(world.log_in_with("anna", Some(&authenticator.again())).await), Code::CODE_REFUSED);
    world.store.close().await;
    let world = World::over(world._folder, Config::default()).await;
    assert_eq!(refused(world.log_in_with("anna", Some(&authenticator.again())).await), Code::CODE_REFUSED);
    assert_eq!(world.failures("second_factor"), 1.0);
    assert!(world.log_in_with("anna", Some(&authenticator.next())).await.is_ok());
}

#[tokio::test]
async fn the_same_code_at_once_lets_in_one() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    let (mut authenticator, ..) = world.enrolled("anna").await;
    let code = authenticator.next();
    let all = (0..5).map(|_| world.log_in_with("anna", Some(&code)));
    let outcomes = futures_util::future::join_all(all).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

#[tokio::test]
async fn each_recovery_code_is_good_for_one_login_however_it_is_typed() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    let eve = world.person("eve", &[Role::Operator]).await;
    let (_, codes, _) = world.enrolled("anna").await;
    world.enrolled("eve").await;
    let typed = secret(&format!(" {} ", codes[0].to_uppercase().replace('-', " ")));
    assert!(world.log_in_with("anna", Some(&typed)).await.is_ok());
    assert_eq!(refused(world.log_in_with("anna", Some(&typed)).await), Code::CODE_REFUSED);
    assert_eq!(refused(world.log_in_with("eve", Some(&secret(&codes[1]))).await), Code::CODE_REFUSED);
    assert_eq!(world.store.recovery_codes(&eve.id).await.unwrap(), 10);
    assert!(world.log_in_with("anna", Some(&secret(&codes[1]))).await.is_ok());
}

#[tokio::test]
async fn wrong_codes_are_held_back_as_wrong_passwords_are() {
    let world = World::new().await;
    world.person("anna", &[Role::Operator]).await;
    let (mut authenticator, codes, _) = world.enrolled("anna").await;
    for n in 0..6 {
        let guess = world.log_in_with("anna", Some(&secret(&format!("00000{n}")))).await;
        assert_eq!(refused(guess), Code::CODE_REFUSED);
        // That the password is right again and again forgives nothing.
        if n < 5 {
            assert_eq!(refused(world.log_in("anna", PASSWORD).await), Code::SECOND_FACTOR);
        }
    }
    assert_eq!(refused(world.log_in_with("anna", Some(&authenticator.next())).await), Code::LIMIT);
    assert_eq!(refused(world.log_in_with("anna", Some(&secret(&codes[0]))).await), Code::LIMIT);
    assert_eq!((world.failures("second_factor"), world.failures("throttled")), (6.0, 2.0));
}

#[tokio::test]
async fn new_recovery_codes_take_password_and_code_and_the_place_of_the_old_ones() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let cookie = world.cookie("anna").await;
    let caller = world.identity.of_cookie(&cookie).await.unwrap();
    let renew = async |password: &str, code: &Secret| {
        world.identity.renew_recovery_codes(&caller, secret(password), code, &home()).await
    };
    assert_eq!(refused(renew(PASSWORD, &secret("000000")).await), Code::BAD_REQUEST, "there is nothing yet");
    let begun = world.identity.begin_totp(&caller, secret(PASSWORD), &home()).await.unwrap();
    let mut authenticator = Authenticator::of(&begun);
    assert_eq!(refused(renew(PASSWORD, &authenticator.next()).await), Code::BAD_REQUEST, "only begun");
    let old = world.identity.confirm_totp(&caller, &authenticator.next()).await.unwrap();
    assert_eq!(refused(renew("wrong", &authenticator.next()).await), Code::LOGIN_REFUSED);
    assert_eq!(refused(renew(PASSWORD, &secret("123")).await), Code::CODE_REFUSED);
    assert_eq!(world.failures("second_factor"), 1.0);
    assert!(world.log_in_with("anna", Some(&secret(&old[0]))).await.is_ok(), "refused, and yet gone");

    let new = renew(PASSWORD, &authenticator.again()).await.unwrap();
    assert_eq!((new.len(), world.store.recovery_codes(&anna.id).await.unwrap()), (10, 10));
    assert_eq!(refused(renew(PASSWORD, &authenticator.again()).await), Code::CODE_REFUSED, "taken twice");
    assert_eq!(refused(world.log_in_with("anna", Some(&secret(&old[1]))).await), Code::CODE_REFUSED);
    assert!(world.log_in_with("anna", Some(&secret(&new[0]))).await.is_ok());
    // One of those that one has is a code, too; it goes with the others.
    let newer = renew(PASSWORD, &secret(&new[1])).await.unwrap();
    assert_eq!(refused(world.log_in_with("anna", Some(&secret(&new[2]))).await), Code::CODE_REFUSED);
    assert!(world.log_in_with("anna", Some(&secret(&newer[0]))).await.is_ok() && world.works(&cookie).await);
    // A second factor that went meanwhile leaves no codes behind.
    world.store.end_totp(&anna.id).await.unwrap();
    assert!(!world.store.renew_recovery_codes(&anna.id, b"another", &[Hashed::of("a")]).await.unwrap());
    assert_eq!(world.store.recovery_codes(&anna.id).await.unwrap(), 0);
}

#[tokio::test]
async fn turning_it_off_takes_password_and_code_and_an_administrator_neither() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let (mut authenticator, codes, cookie) = world.enrolled("anna").await;
    let caller = world.identity.of_cookie(&cookie).await.unwrap();
    let end = async |password: &str, code: Secret| {
        world.identity.end_totp(&caller, secret(password), &code, &home()).await
    };
    assert_eq!(refused(end("wrong", authenticator.next()).await), Code::LOGIN_REFUSED);
    assert_eq!(refused(end(PASSWORD, secret("123")).await), Code::CODE_REFUSED);
    assert!(end(PASSWORD, authenticator.again()).await.is_ok());
    assert!(world.log_in("anna", PASSWORD).await.is_ok());
    assert_eq!(world.store.recovery_codes(&anna.id).await.unwrap(), 0, "its codes are gone with it");
    // Reset by an administrator: what was open ends, and the password is enough again.
    let (_, _, cookie) = world.enrolled_later("anna", &mut authenticator).await;
    assert!(world.identity.reset_totp(&anna.id).await.is_ok());
    assert!(!world.works(&cookie).await && world.log_in("anna", PASSWORD).await.is_ok());
    assert_eq!(refused(world.identity.reset_totp(&anna.id).await), Code::UNKNOWN);
    assert!(!codes.is_empty());
}

impl World {
    /// The same, by a person whose last code was one of that authenticator: no step is taken twice.
    async fn enrolled_later(
        &self,
        name: &str,
        before: &mut Authenticator,
    ) -> (Authenticator, Vec<Zeroizing<String>>, String) {
        let cookie = self.cookie(name).await;
        let caller = self.identity.of_cookie(&cookie).await.unwrap();
        let enrolment = self.identity.begin_totp(&caller, secret(PASSWORD), &home()).await.unwrap();
        let mut authenticator = Authenticator { shown: before.shown, ..Authenticator::of(&enrolment) };
        let codes = self.identity.confirm_totp(&caller, &authenticator.next()).await.unwrap();
        (authenticator, codes, cookie)
    }
}

#[tokio::test]
async fn where_it_is_required_whoever_has_none_is_only_let_in_to_set_one_up() {
    let mut config = Config::default();
    config.login.totp = Totp::Required;
    let world = World::with(config).await;
    world.person("anna", &[Role::Admin]).await;
    let (cookie, other) = (world.cookie("anna").await, world.cookie("anna").await);
    let second_factor =
        async |cookie: &str| world.identity.of_cookie(cookie).await.ok().map(|caller| caller.second_factor);
    assert_eq!(second_factor(&cookie).await, Some(SecondFactor::Missing));
    // Nor does anything go on that was begun: a terminal, a stream of events.
    let pass = world.identity.of_cookie(&cookie).await.unwrap().pass;
    assert_eq!(refused(world.identity.still(&pass, Use::Looks).await), Code::SECOND_FACTOR_MISSING);
    let (.., set_up) = world.enrolled("anna").await;
    assert_eq!(second_factor(&set_up).await, Some(SecondFactor::On));
    assert_eq!(second_factor(&other).await, None);
}

#[tokio::test]
async fn a_link_for_a_new_password_does_not_do_away_with_the_second_factor() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let (mut authenticator, ..) = world.enrolled("anna").await;
    let invitation = world.identity.invite(Some(&anna.id)).await.unwrap();
    let accept = async |code: Option<Secret>| {
        let shown = secret(invitation.reveal());
        world.identity.accept(shown, None, secret("another good one"), code.as_ref(), &home()).await
    };
    assert_eq!(refused(accept(None).await), Code::SECOND_FACTOR);
    assert_eq!(refused(accept(Some(secret("123456"))).await), Code::CODE_REFUSED);
    assert!(world.log_in_with("anna", Some(&authenticator.next())).await.is_ok(), "nothing was changed");
    assert!(accept(Some(authenticator.next())).await.is_ok());
}

/// A login looks at the password first and is kept later: both races were won by the old password once.
#[tokio::test]
async fn a_password_that_is_changed_during_a_login_with_the_old_one_ends_that_login() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let old = world.hash("anna").await;
    let cookie = world.cookie("anna").await;
    let caller = world.identity.of_cookie(&cookie).await.unwrap();
    let fresh = secret("another good one");
    world.identity.change_password(&caller, secret(PASSWORD), fresh, &home()).await.unwrap();
    let logins = world.store.logins(&anna.id).await.unwrap().len();
    let rests = Rests::Password { hash: Some(&old), second_factor: false };
    assert_eq!(refused(world.identity.begin(anna.clone(), rests, &home()).await), Code::LOGIN_REFUSED);
    // Nor does the new hash of the old password, or another change that began before, get in its place.
    let new = world.hash("anna").await;
    assert!(!world.store.rehash(&anna.id, &old, "$argon2id$x").await.unwrap());
    assert!(!world.store.set_password(&anna.id, Some(&old), "$argon2id$x").await.unwrap());
    assert_eq!(world.hash("anna").await, new);
    // Nor does a login that was not asked for the second factor that came up meanwhile.
    let rests = Rests::Password { hash: Some(&new), second_factor: true };
    assert_eq!(refused(world.identity.begin(anna.clone(), rests, &home()).await), Code::LOGIN_REFUSED);
    assert_eq!(world.store.logins(&anna.id).await.unwrap().len(), logins);
}

#[tokio::test]
async fn an_outdated_hash_is_made_anew_and_the_login_rests_on_it() {
    let world = World::new().await;
    let anna = world.person("anna", &[Role::Operator]).await;
    let weak = {
        use argon2::password_hash::PasswordHasher;
        let params = argon2::Params::new(64, 1, 1, None).unwrap();
        let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let hash: argon2::password_hash::phc::PasswordHash =
            argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"a salt of a test").unwrap();
        hash.to_string()
    };
    let strong = world.hash("anna").await;
    assert!(world.store.set_password(&anna.id, Some(&strong), &weak).await.unwrap());
    let cookie = world.cookie("anna").await;
    assert!(world.works(&cookie).await);
    assert!(!Passwords::is_outdated(&world.hash("anna").await));
}
