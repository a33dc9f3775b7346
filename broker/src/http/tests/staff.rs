//! A broker outside demo mode with people of every kind, two devices and a session.

use std::sync::Arc;

use super::*;
use crate::access::{Role, Scope};
use crate::id::{GrantId, LoginId, TokenId};
use crate::identity::new_person;
use crate::store::{
    DeviceRow, GrantRow, LoginRow, PersonRow, ProviderAccount, Rests, Standing, TokenRow, Way,
};
use crate::token::{Hashed, Token};

/// A device with the tag `lab`.
pub const LAB: &str = "d-labaaaaaaaaaaaaa";
/// A device with the tag `yard`.
pub const YARD: &str = "d-yardaaaaaaaaaaaa";
/// A session of `oper` in the lab, as `pi`.
pub const SESSION: &str = "s-operaaaaaaaaaaaaaaaaaaaaaa";

/// The hash of a password that nobody knows.
const NOBODYS: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA";

/// Everybody who could ask, as the columns of the table.
pub const EVERYBODY: [&str; 7] = ["anonymous", "expired", "walt", "oper", "other", "root", "demoted"];

/// See the module.
pub struct Staff {
    pub broker: Broker,
    pub store: Store,
}

impl Staff {
    /// - `walt` may watch in the lab, `oper` has shells as `pi` there and manages it, `other` may everything in
    ///   the yard, `root` is the administrator
    /// - `expired` has the cookie of a login that is over, `demoted` a token of somebody who was one
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Broker::config(&folder);
        config.demo = false;
        change(&mut config);
        let path = config.data_dir.join(FILE);
        let store = Store::open(&path, &Timing::default(), Metrics::new()).await.unwrap();
        for (id, tag) in [(LAB, "lab"), (YARD, "yard")] {
            store.enroll(&device(id)).await.unwrap();
            store.tag(&id.parse().unwrap(), &[tag.parse().unwrap()]).await.unwrap();
        }
        for (name, roles, days) in [
            ("walt", vec![Role::Watcher], 0),
            ("oper", vec![Role::Operator], 0),
            ("other", vec![Role::Operator], 0),
            ("root", vec![Role::Admin], 0),
            ("expired", vec![Role::Admin], 30),
            ("demoted", vec![], 0),
        ] {
            let person = new_person(name, roles, Vec::new()).unwrap();
            store.add_person(&person).await.unwrap();
            add_login(&store, &person, name, days).await;
        }
        let root = store.person_named("root").await.unwrap().unwrap();
        store.set_password(&root.id, None, NOBODYS).await.unwrap();
        add_login(&store, &root, "root", 0).await;
        for (who, acts, devices, logins) in [
            ("person:walt", "watch", "lab", "*"),
            ("person:oper", "shell,manage", "lab", "pi"),
            ("person:other", "shell,exec,files,forward,watch,kill,manage", "yard", "*"),
            ("person:demoted", "shell,exec,files,forward,watch,kill,manage", "*", "*"),
        ] {
            add_grant(&store, who, acts, devices, logins).await;
        }
        let demoted = store.person_named("demoted").await.unwrap().unwrap();
        add_token(&store, &demoted, "demoted", "shell,exec,files,forward,watch,kill,manage,admin").await;
        let row = SessionRow {
            device: LAB.parse().unwrap(),
            login: "pi".into(),
            person: "oper".into(),
            house: House::Keeper,
            traced: None,
            ..session_row(SESSION, 1_800_000_000)
        };
        store.session_started(&row).await.unwrap();
        let app = App::start(Arc::new(config)).await.unwrap();
        Self { broker: Broker { app, folder }, store }
    }

    /// What somebody shows.
    pub fn shows(&self, name: &str) -> Vec<(&'static str, String)> {
        match name {
            "anonymous" => Vec::new(),
            "demoted" => vec![("authorization", "Bearer mlt_demoted".to_owned())],
            name => vec![("cookie", format!("moorline=cookie-of-{name}"))],
        }
    }

    /// Asks as somebody, as a page of the broker would.
    pub async fn asks(&self, name: &str, method: &str, path: &str, body: Value) -> Answer {
        self.shown(&self.shows(name), method, path, body).await
    }

    /// Asks with these headers.
    pub async fn shown(&self, shown: &[(&str, String)], method: &str, path: &str, body: Value) -> Answer {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(shown.iter().map(|(name, value)| (*name, value.as_str())));
        let body = if method == "GET" || method == "HEAD" { String::new() } else { body.to_string() };
        self.broker.send(method, path, &headers, &body).await
    }

    /// Asks for a WebSocket as somebody.
    pub async fn upgrades(&self, name: &str, path: &str, protocol: &str, origin: bool) -> Answer {
        let (shown, own) = (self.shows(name), format!("http://{}", self.broker.host()));
        let mut headers: Vec<(&str, &str)> =
            shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if origin {
            headers.push(("origin", &own));
        }
        self.broker.upgrade_head(path, protocol, &headers).await
    }
}

pub fn device(id: &str) -> DeviceRow {
    DeviceRow {
        id: id.parse().unwrap(),
        name: format!("device {id}"),
        key: vec![7; 32],
        next_key: None,
        key_asked: false,
        standing: Standing::Approved,
        install_key: None,
        login: "pi".into(),
        platform: "linux x86_64".into(),
        sshd: "embedded".into(),
        software: "moorline-agent 0.1.0".into(),
        host_keys: vec!["ssh-ed25519 AAAA".into()],
        offered_host_keys: None,
        enrolled: clock::wall(),
        last_seen: None,
        tags: Vec::new(),
    }
}

fn login_of(person: &PersonRow, days: i64, way: Way) -> LoginRow {
    let then = clock::wall() - jiff::SignedDuration::from_hours(24 * days);
    LoginRow {
        id: LoginId::fresh().unwrap(),
        person: person.id.clone(),
        created: then,
        seen: then,
        address: "127.0.0.1".into(),
        agent: "test".into(),
        way,
    }
}

async fn add_login(store: &Store, person: &PersonRow, name: &str, days: i64) {
    let login = login_of(person, days, Way::Password);
    let hash = store.credentials(&person.name).await.unwrap().unwrap().hash;
    let rests = Rests::Password { hash: hash.as_ref().map(|hash| hash.as_str()), second_factor: false };
    assert!(store.add_login(Hashed::of(&format!("cookie-of-{name}")), &login, rests).await.unwrap());
}

/// A login that rests on an account of a provider, which must be theirs.
pub async fn add_provider_login(store: &Store, person: &PersonRow, name: &str, account: &ProviderAccount) {
    let login = login_of(person, 0, Way::Provider);
    let rests = Rests::Provider { issuer: &account.issuer, subject: &account.subject };
    assert!(store.add_login(Hashed::of(&format!("cookie-of-{name}")), &login, rests).await.unwrap());
}

pub async fn add_grant(store: &Store, who: &str, acts: &str, devices: &str, logins: &str) -> GrantId {
    let grant = crate::access::Grant {
        id: GrantId::fresh().unwrap(),
        who: who.parse().unwrap(),
        acts: acts.split(',').map(|act| act.parse().unwrap()).collect(),
        devices: devices.parse().unwrap(),
        logins: logins.parse().unwrap(),
        until: None,
    };
    let row = GrantRow { grant, created: clock::wall(), created_by: "test".into() };
    store.add_grant(&row).await.unwrap();
    row.grant.id
}

/// The token `mlt_NAME`.
pub async fn add_token(store: &Store, person: &PersonRow, name: &str, scopes: &str) {
    let scopes = scopes.split(',').map(|scope| scope.parse::<Scope>().unwrap()).collect();
    let row = TokenRow {
        id: TokenId::fresh().unwrap(),
        person: person.id.clone(),
        label: name.to_owned(),
        scopes,
        created: clock::wall(),
        expires: clock::wall() + jiff::SignedDuration::from_hours(1),
        used: None,
    };
    store.add_token(Hashed::of(&format!("mlt_{name}")), &row).await.unwrap();
}

/// A secret of the form that the broker makes.
pub fn invented() -> String {
    Token::fresh().unwrap().reveal().to_owned()
}
