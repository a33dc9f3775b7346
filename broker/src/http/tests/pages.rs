//! Pages and their files, and the headers of every answer.

use super::*;

#[actix_web::test]
async fn every_answer_has_the_security_headers_and_an_id() {
    let broker = Broker::start().await;
    let mut ids = std::collections::HashSet::new();
    for path in
        ["/", "/livez", "/api/v1/me", "/api/v1/nothing", "/nothing", "/metrics", "/api/v1/openapi.json"]
    {
        let answer = broker.get(path).await;
        let header = |name: &str| answer.headers.get(name).map(String::as_str).unwrap_or_default();
        let policy = header("content-security-policy");
        for part in
            ["default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy:?}");
        }
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert!(ids.insert(header("x-request-id").to_owned()), "{path}: an id came twice");
        assert!(!path.starts_with("/api/") || header("cache-control") == "no-store", "{path}");
    }
}

#[actix_web::test]
async fn every_address_of_the_console_is_the_same_page() {
    let broker = Broker::start().await;
    let page = broker.get("/").await;
    assert_eq!((page.status, page.headers["cache-control"].as_str()), (200, "no-store"));
    for path in [
        "/devices",
        "/sessions",
        "/actors",
        "/s/s-aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/d/d-aaaaaaaaaaaaaaaa",
        "/?renderer=dom",
    ] {
        let same = broker.get(path).await;
        assert_eq!((same.status, &same.text), (200, &page.text), "{path}");
    }
    let head = broker.send("HEAD", "/", &[], "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[actix_web::test]
async fn nothing_beside_the_built_files_is_served() {
    let broker = Broker::start().await;
    for path in [
        "/nothing",
        "/index.html",
        "/index.html.br",
        "/assets",
        "/assets/",
        "/assets/nothing.js",
        "/../Cargo.toml",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/assets/..%2f..%2f..%2fetc/passwd",
        "/assets/%2e%2e/index.html",
        "/..%5c..%5cetc",
        "//etc/passwd",
        "/.gitignore",
        "/assets/%00.js",
        "/package.json",
        "/src/main.tsx",
    ] {
        let answer = broker.get(path).await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        assert!(!answer.text.contains("root:") && !answer.text.contains("[package]"), "{path}: {answer:?}");
    }
}
