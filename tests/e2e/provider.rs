//! Logging in by an OpenID provider: one that is honest, one that lies, and one that is away.

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::{Answer, free_port};
use moorline_tests::provider::{CLIENT, CLIENT_SECRET, Lie, Provider};
use moorline_tests::{Broker, Stage, once};
use reqwest::Method;
use serde_json::{Value, json};

use super::people::{accept, cookie_of, init, secret};

once! {
    whoever_the_provider_lets_in_is_let_in_as_what_it_says,
    an_account_is_linked_by_who_has_both_and_never_by_a_name,
    what_a_provider_says_that_cannot_be_trusted_lets_nobody_in,
    a_login_is_finished_by_the_browser_that_began_it_and_once,
    a_broker_starts_while_the_provider_is_away_and_goes_on_when_it_is_back,
}

/// A broker with a first administrator, `root`, and this provider.
async fn broker(stage: &Stage, provider: &Provider, settings: &[(&str, &str)]) -> Result<Broker> {
    stage.announce("nobody can log in yet");
    let (done, told) = init(stage, &[])?;
    ensure!(done, "{told}");
    let data = stage.path("made/data").display().to_string();
    let file = stage.path("client.secret");
    std::fs::write(&file, format!("{CLIENT_SECRET}\n"))?;
    let (issuer, file) = (provider.issuer(), file.display().to_string());
    let mut all = vec![
        ("demo", "false"),
        ("data_dir", data.as_str()),
        ("oidc.issuer", issuer.as_str()),
        ("oidc.client_id", CLIENT),
        ("oidc.client_secret_file", file.as_str()),
    ];
    all.extend_from_slice(settings);
    let mut broker = Broker::start_with(stage, free_port(), &all).await?;
    let root = accept(&mut broker, &secret(&told)?, Some("root")).await?;
    broker.cookie = Some(root);
    Ok(broker)
}

/// The browser of somebody: what it shows, and where it was sent.
#[derive(Debug, Clone)]
struct Browser {
    cookies: String,
    location: String,
}

impl Browser {
    fn of(answer: &Answer) -> Result<Self> {
        let location = answer.is(303)?.headers.get("location").context("no location")?.to_str()?.to_owned();
        let cookies = answer.headers.get_all("set-cookie").iter().map(|cookie| {
            let text = cookie.to_str()?;
            Ok(text.split(';').next().unwrap_or_default().to_owned())
        });
        Ok(Self { cookies: cookies.collect::<Result<Vec<_>>>()?.join("; "), location })
    }

    /// The value of a cookie that it was given.
    fn login(&self) -> Option<String> {
        let found = self.cookies.split("; ").find(|cookie| cookie.starts_with("moorline="));
        found.map(str::to_owned)
    }

    /// Goes to the provider, which sends it back; gives the path of the broker to which.
    async fn visits(&self) -> Result<String> {
        let http =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let answer = http.get(&self.location).send().await?;
        let back = answer.headers().get("location").context("not let in")?.to_str()?.to_owned();
        let path = back.find("/api/").context("sent elsewhere")?;
        Ok(back[path..].to_owned())
    }
}

/// Begins a login.
async fn begun(broker: &mut Broker, query: &str) -> Result<Browser> {
    let answer = broker.as_whom("x=y", async |broker| {
        broker.call(Method::GET, &format!("/api/v1/login/oidc{query}"), None).await
    });
    Browser::of(&answer.await?)
}

/// Comes back from the provider with these cookies.
async fn back(broker: &mut Broker, cookies: &str, path: &str) -> Result<Browser> {
    let answer = broker.as_whom(cookies, async |broker| broker.call(Method::GET, path, None).await);
    Browser::of(&answer.await?)
}

/// The whole way.
async fn logged_in(broker: &mut Broker) -> Result<Browser> {
    let browser = begun(broker, "").await?;
    let path = browser.visits().await?;
    back(broker, &browser.cookies, &path).await
}

/// It was sent to a page that says why not, with no login.
fn refused(browser: &Browser, code: &str) -> Result<()> {
    let fragment = format!("#refused={code}");
    ensure!(browser.location.ends_with(&fragment), "not {code}: {browser:?}");
    ensure!(browser.login().is_none(), "let in: {browser:?}");
    Ok(())
}

async fn me(broker: &mut Broker, browser: &Browser) -> Result<Value> {
    let login = browser.login().with_context(|| format!("no login: {browser:?}"))?;
    broker.as_whom(&login, async |broker| broker.get("/api/v1/me").await).await
}

async fn whoever_the_provider_lets_in_is_let_in_as_what_it_says(stage: &Stage) -> Result<()> {
    let provider = Provider::start().await?;
    let settings = [
        ("oidc.create", "true"),
        ("oidc.groups_claim", "groups"),
        ("oidc.roles", "ops=operator"),
        ("oidc.label", "By the bakery"),
    ];
    let mut broker = broker(stage, &provider, &settings).await?;
    ensure!(broker.get("/api/v1/login").await? == json!({ "provider": "By the bakery" }), "no button");
    provider.is_visited_by(json!({ "sub": "7", "preferred_username": "Oskar", "groups": ["ops", "A b"] }));
    let browser = begun(&mut broker, "?back=/devices").await?;
    ensure!(browser.location.starts_with(&format!("{}/authorize?", provider.issuer())), "{browser:?}");
    let path = browser.visits().await?;
    let oskar = back(&mut broker, &browser.cookies, &path).await?;
    ensure!(oskar.location == "/devices", "{oskar:?}");
    let told = me(&mut broker, &oskar).await?;
    ensure!(told["person"] == "oskar" && told["roles"] == json!(["operator"]), "{told}");
    ensure!(told["ways"] == json!(["provider"]), "{told}");

    // The same account, whatever it is called by now, with what it has there by now.
    provider.is_visited_by(json!({ "sub": "7", "preferred_username": "root", "groups": ["it"] }));
    let again = logged_in(&mut broker).await?;
    let told = me(&mut broker, &again).await?;
    ensure!(told["person"] == "oskar" && told["roles"] == json!([]), "{told}");
    // Another one of a name that is somebody's, or can be none, is nobody.
    for name in ["root", "oskar", "demo", "no name", ""] {
        provider.is_visited_by(json!({ "sub": "8", "preferred_username": name }));
        refused(&logged_in(&mut broker).await?, "not_linked")?;
    }
    // Whoever is disabled stays out, and out at once.
    let people = broker.get("/api/v1/people").await?;
    let people = people["people"].as_array().context("no people")?;
    let id = people.iter().find(|person| person["name"] == "oskar").context("no oskar")?["id"].clone();
    let person = format!("/api/v1/people/{}", id.as_str().context("no id")?);
    broker.call(Method::PATCH, &person, Some(json!({ "disabled": true }))).await?.is(200)?;
    provider.is_visited_by(json!({ "sub": "7", "preferred_username": "oskar", "groups": ["ops"] }));
    refused(&logged_in(&mut broker).await?, "not_linked")?;
    let audit = broker.get("/api/v1/audit?what=login").await?;
    let entry = |outcome: &str, who: &str| {
        let entries = audit["entries"].as_array().into_iter().flatten();
        entries
            .filter(|entry| entry["outcome"] == outcome && entry["who"] == who && entry["on"] == "oidc")
            .count()
    };
    ensure!((entry("done", "oskar"), entry("not_linked", "")) == (2, 6), "{audit}");
    let by_provider = broker.get("/api/v1/audit?who=oidc").await?;
    let acts: Vec<_> = by_provider["entries"].as_array().into_iter().flatten().collect();
    ensure!(acts.len() == 2 && acts.iter().all(|entry| entry["on"] == id), "{by_provider}");
    ensure!(acts[0]["what"] == "person_change" && acts[1]["what"] == "person_create", "{by_provider}");
    ensure!(broker.metric("moorline_auth_failures_total", &["provider"]).await? == 6.0, "not counted");
    for secret in [CLIENT_SECRET, "code-", "a+secret"] {
        ensure!(!stage.log("broker").contains(secret), "{secret} is in the log");
    }
    Ok(())
}

async fn an_account_is_linked_by_who_has_both_and_never_by_a_name(stage: &Stage) -> Result<()> {
    let provider = Provider::start().await?;
    let mut broker = broker(stage, &provider, &[]).await?;
    provider.is_visited_by(json!({ "sub": "1", "preferred_username": "root", "email": "root@example.org" }));
    refused(&logged_in(&mut broker).await?, "not_linked")?;

    let ask = async |broker: &Broker, password: &str| {
        broker.call(Method::POST, "/api/v1/me/oidc", Some(json!({ "password": password }))).await
    };
    ask(&broker, "wrong").await?.refuses(401, "login_refused")?;
    let answer = ask(&broker, super::people::PASSWORD).await?;
    let location = answer.is(200)?.json["location"].as_str().context("no location")?.to_owned();
    let browser = Browser { cookies: cookie_of(&answer)?, location };
    let path = browser.visits().await?;
    // The cookie of a login is not sent by a page of another site: it is not needed.
    let linked = back(&mut broker, &browser.cookies, &path).await?;
    ensure!(linked.location == "/account" && linked.login().is_none(), "{linked:?}");
    let root = logged_in(&mut broker).await?;
    let told = me(&mut broker, &root).await?;
    ensure!(told["person"] == "root" && told["ways"] == json!(["password", "provider"]), "{told}");
    ensure!(told["roles"] == json!(["admin"]), "the roles of one who is linked are from here: {told}");
    let logins = broker.get("/api/v1/me/logins").await?;
    ensure!(logins["logins"][0]["way"] == "provider", "{logins}");

    broker.call(Method::DELETE, "/api/v1/me/oidc", None).await?.is(200)?;
    broker.call(Method::DELETE, "/api/v1/me/oidc", None).await?.refuses(404, "unknown")?;
    let login = root.login().context("no login")?;
    let gone = broker.as_whom(&login, async |broker| broker.call(Method::GET, "/api/v1/me", None).await);
    gone.await?.refuses(401, "login_expired")?;
    refused(&logged_in(&mut broker).await?, "not_linked")
}

async fn what_a_provider_says_that_cannot_be_trusted_lets_nobody_in(stage: &Stage) -> Result<()> {
    stage.announce("the login provider is away");
    let provider = Provider::start().await?;
    let mut broker = broker(stage, &provider, &[("oidc.create", "true")]).await?;
    for lie in [
        Lie::Nonce,
        Lie::Audience,
        Lie::TwoAudiences,
        Lie::Expired,
        Lie::Issuer,
        Lie::NoSignature,
        Lie::ForeignKey,
        Lie::ClientSecret,
        Lie::Altered,
        Lie::NoToken,
        Lie::Nonsense,
    ] {
        provider.lies(lie);
        let browser = logged_in(&mut broker).await?;
        refused(&browser, "provider_refused").with_context(|| format!("{lie:?}"))?;
    }
    provider.lies(Lie::Nothing);
    // Somebody else's answer, given to us as this provider's.
    let browser = begun(&mut broker, "").await?;
    let path = browser.visits().await?.replace(&provider.issuer(), "http://127.0.0.1:1");
    refused(&back(&mut broker, &browser.cookies, &path).await?, "provider_refused")?;
    // It did not let them in.
    let state = path.split("state=").nth(1).and_then(|rest| rest.split('&').next()).context("no state")?;
    let denied = format!("/api/v1/login/oidc/callback?error=access_denied&state={state}");
    refused(&back(&mut broker, &browser.cookies, &denied).await?, "provider_refused")?;
    let honest = logged_in(&mut broker).await?;
    ensure!(me(&mut broker, &honest).await?["person"] == "anna", "the honest one is let in");
    // A key that it has since then is asked for, as soon as it may be asked again.
    provider.changes_its_key()?;
    let limit = std::time::Duration::from_secs(30);
    moorline_tests::wait::eventually(limit, "the new key to be known", async || {
        let browser = Browser::of(&broker.call(Method::GET, "/api/v1/login/oidc", None).await?)?;
        let path = browser.visits().await?;
        let request = broker.request(Method::GET, &path).header("cookie", &browser.cookies);
        let arrived = Browser::of(&broker.send(request).await?)?;
        arrived.login().with_context(|| format!("{arrived:?}"))
    })
    .await
    .map(drop)
}

async fn a_login_is_finished_by_the_browser_that_began_it_and_once(stage: &Stage) -> Result<()> {
    let provider = Provider::start().await?;
    let mut broker = broker(stage, &provider, &[("oidc.create", "true")]).await?;
    let (one, other) = (begun(&mut broker, "").await?, begun(&mut broker, "").await?);
    let (path, of_other) = (one.visits().await?, other.visits().await?);
    // Without its cookie, with another browser's, with an altered one, without a state.
    for cookies in ["x=y", other.cookies.as_str(), &one.cookies.replace("moorline-oidc=", "moorline-oidc=A")]
    {
        refused(&back(&mut broker, cookies, &path).await?, "login_lost")?;
    }
    for path in ["?", "?state=", "?state=a&state=b", &path.replace("state=", "stat=")[27..]] {
        let path = format!("/api/v1/login/oidc/callback{path}");
        refused(&back(&mut broker, &one.cookies, &path).await?, "login_lost")?;
    }
    let arrived = back(&mut broker, &one.cookies, &path).await?;
    ensure!(me(&mut broker, &arrived).await?["person"] == "anna", "{arrived:?}");
    ensure!(arrived.cookies.split("; ").any(|cookie| cookie == "moorline-oidc="), "kept: {arrived:?}");
    // The code was used.
    refused(&back(&mut broker, &one.cookies, &path).await?, "provider_refused")?;
    // Only pages of our own are gone back to.
    for elsewhere in ["//evil.example", "https://evil.example", "/%5cevil.example", "/api/v1/logout"] {
        let browser = begun(&mut broker, &format!("?back={elsewhere}")).await?;
        let path = browser.visits().await?;
        let arrived = back(&mut broker, &browser.cookies, &path).await?;
        ensure!(arrived.location == "/" && arrived.login().is_some(), "{arrived:?}");
    }
    // A login that another process began is begun again.
    broker.process.kill()?;
    broker.restart(stage).await?;
    refused(&back(&mut broker, &other.cookies, &of_other).await?, "login_lost")
}

async fn a_broker_starts_while_the_provider_is_away_and_goes_on_when_it_is_back(stage: &Stage) -> Result<()> {
    stage.announce("the login provider is away");
    let provider = Provider::start().await?;
    provider.lies(Lie::Broken);
    let mut broker = broker(stage, &provider, &[("oidc.create", "true")]).await?;
    ensure!(provider.served() == 0, "it is not asked before it is needed");
    for _ in 0..5 {
        refused(&begun(&mut broker, "").await?, "provider_failed")?;
    }
    ensure!(provider.served() <= 2, "it is left alone for a while: {}", provider.served());
    provider.lies(Lie::Nothing);
    let browser = moorline_tests::wait::eventually(moorline_tests::wait::SOON, "the provider", async || {
        let answer = broker.call(Method::GET, "/api/v1/login/oidc", None).await?;
        let browser = Browser::of(&answer)?;
        ensure!(!browser.location.contains("refused"), "{browser:?}");
        Ok(browser)
    });
    let browser = browser.await?;
    let path = browser.visits().await?;
    let arrived = back(&mut broker, &browser.cookies, &path).await?;
    ensure!(me(&mut broker, &arrived).await?["person"] == "anna", "{arrived:?}");
    let asked = provider.served();
    let browser = begun(&mut broker, "").await?;
    ensure!(provider.served() == asked, "what it told is remembered");
    // It fails while somebody is there, and is back: the login that was begun is finished.
    let path = browser.visits().await?;
    provider.lies(Lie::Broken);
    let refused_now = back(&mut broker, &browser.cookies, &path).await?;
    refused(&refused_now, "provider_failed")?;
    provider.lies(Lie::Nothing);
    ensure!(back(&mut broker, &browser.cookies, &path).await?.login().is_some(), "it was not finished");
    // The passwords of others work all the while.
    ensure!(broker.get("/api/v1/me").await?["person"] == "root", "not there");
    Ok(())
}
