//! A real server and a real client on loopback.

use super::*;

use actix_http::HttpService;
use actix_service::map_config;
use actix_web::App;
use actix_web::dev::AppConfig;
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as Said;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

type Client = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// A server that hands the ends of its sockets to the test.
struct Server {
    url: String,
    ends: tokio::sync::mpsc::Receiver<SocketEnds>,
    handle: actix_web::dev::ServerHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        std::mem::drop(self.handle.stop(false));
    }
}

fn serve(kind: SocketKind) -> Server {
    let (give, ends) = tokio::sync::mpsc::channel(4);
    let give = Arc::new(Mutex::new(give));
    let app = move || {
        let give = give.clone();
        App::new()
            .route(
                "/",
                web::get().to(move |req: HttpRequest, payload: web::Payload| {
                    let give = give.clone();
                    async move {
                        let (answer, ends) = upgrade(&req, payload, kind)
                            .map_err(|problem| actix_web::error::ErrorBadRequest(problem.text))?;
                        give.lock().unwrap().try_send(ends).unwrap();
                        Ok::<_, actix_web::Error>(answer)
                    }
                }),
            )
            .route("/page", web::get().to(async || "y".repeat(PAGE)))
    };
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let service = move || {
        let plain = map_config(app(), |()| AppConfig::default());
        HttpService::build().upgrade(upgrades(app())).finish(plain).tcp()
    };
    let server = actix_web::dev::Server::build().workers(1).disable_signals();
    let server = server.listen("test", listener, service).unwrap().run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Server { url, ends, handle }
}

/// More than is sent at once.
const PAGE: usize = 1_000_000;

const KIND: SocketKind =
    SocketKind { protocol: "test.v1", frame_max: 1000, ping: None, close_number: Code::number };

async fn dial(server: &Server, protocol: &'static str) -> Client {
    let mut request = server.url.as_str().into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let (client, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    client
}

async fn closed_with(client: &mut Client) -> (u16, String) {
    loop {
        match client.next().await {
            Some(Ok(Said::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
            Some(Ok(_)) => {}
            other => panic!("no close frame, but {other:?}"),
        }
    }
}

/// Sends a request by hand, and whatever is to come with it.
async fn ask(server: &Server, path: &str, with: &[u8]) -> tokio::net::TcpStream {
    let host = server.url.trim_start_matches("ws://").trim_end_matches('/');
    let mut wire = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: test.v1\r\n\r\n"
    );
    wire.write_all(&[request.as_bytes(), with].concat()).await.unwrap();
    wire
}

#[actix::test]
async fn frames_that_come_with_the_request_are_heard() {
    let mut server = serve(KIND);
    let _wire = ask(&server, "/", &[0x82, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    let mut ends = server.ends.recv().await.unwrap();
    assert_eq!(ends.incoming.recv().await, Some(Incoming::Binary(Bytes::from_static(b"hi"))));
}

#[actix::test]
async fn a_page_that_is_asked_for_as_a_socket_is_answered_whole_and_then_the_connection_closes() {
    let server = serve(KIND);
    let mut wire = ask(&server, "/page", b"").await;
    let mut answer = String::new();
    wire.read_to_string(&mut answer).await.unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("connection: close"), "{head}");
    assert!(head.contains(&format!("content-length: {PAGE}")), "{head}");
    assert_eq!(page.len(), PAGE);
}

#[actix::test]
async fn messages_pass_both_ways_with_their_opcode() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    client.send(Said::Binary(Bytes::from_static(&[0, 255, 128]))).await.unwrap();
    client.send(Said::Text("grüße".into())).await.unwrap();
    assert_eq!(ends.incoming.recv().await, Some(Incoming::Binary(Bytes::from_static(&[0, 255, 128]))));
    assert_eq!(ends.incoming.recv().await, Some(Incoming::Text("grüße".into())));
    ends.outgoing.send(Outgoing::Binary(Bytes::from_static(&[1, 254]))).await.unwrap();
    ends.outgoing.send(Outgoing::Text("hallo".into())).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Said::Binary(Bytes::from_static(&[1, 254])));
    assert_eq!(client.next().await.unwrap().unwrap(), Said::Text("hallo".into()));
}

#[actix::test]
async fn what_the_reflex_answers_or_takes_comes_to_nobody_else_until_it_is_cleared() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    let says = |text: &'static [u8]| Bytes::from_static(text);
    let (hears, mut heard) = tokio::sync::mpsc::unbounded_channel();
    ends.reflex.set(move |asked| {
        hears.send(asked.to_bytes()).unwrap();
        match &asked[..] {
            b"one?" => Some([Some(says(b"one!")), None]),
            b"two?" => Some([Some(says(b"two!")), Some(says(b"and you?"))]),
            b"well" => Some([None, None]),
            _ => None,
        }
    });
    for asked in [b"one?", b"well", b"two?", b"else"] {
        client.send(Said::Binary(says(asked))).await.unwrap();
        assert_eq!(heard.recv().await.unwrap(), &asked[..]);
    }
    for told in [&b"one!"[..], b"two!", b"and you?"] {
        assert_eq!(client.next().await.unwrap().unwrap(), Said::Binary(says(told)));
    }
    assert_eq!(ends.incoming.recv().await, Some(Incoming::Binary(says(b"else"))));
    ends.reflex.clear();
    client.send(Said::Binary(says(b"one?"))).await.unwrap();
    assert_eq!(ends.incoming.recv().await, Some(Incoming::Binary(says(b"one?"))));
}

#[actix::test]
async fn messages_that_come_together_or_in_pieces_are_heard_whole_and_in_their_order() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let ends = server.ends.recv().await.unwrap();
    let (hears, mut heard) = tokio::sync::mpsc::unbounded_channel();
    ends.reflex.set(move |message| hears.send(message.to_bytes()).ok().map(|()| [None, None]));
    let frame = |text: &[u8]| [&[0x82, 0x80 | text.len() as u8, 0, 0, 0, 0][..], text].concat();
    let tokio_tungstenite::MaybeTlsStream::Plain(wire) = client.get_mut() else { panic!("it is plain") };
    wire.set_nodelay(true).unwrap();
    let both = [frame(b"one"), frame(b"two")].concat();
    tokio::io::AsyncWriteExt::write_all(wire, &both).await.unwrap();
    for told in [b"one", b"two"] {
        assert_eq!(heard.recv().await.unwrap(), &told[..]);
    }
    // A message that has a message in it, whose head comes with something that is answered.
    let (whole, ping) = (frame(&frame(b"one")), [0x89, 0x80, 0, 0, 0, 0]);
    let (head, rest) = whole.split_at(6);
    tokio::io::AsyncWriteExt::write_all(wire, &[&ping, head].concat()).await.unwrap();
    let mut pong = [0; 2];
    tokio::io::AsyncReadExt::read_exact(wire, &mut pong).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(wire, rest).await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), frame(b"one"));
    tokio::io::AsyncWriteExt::write_all(wire, &frame(b"three")).await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), &b"three"[..]);
}

#[actix::test]
async fn the_reflex_overtakes_nothing_that_came_before() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    let says = |text: &'static [u8]| Bytes::from_static(text);
    ends.reflex.set(move |asked| (&asked[..] == b"one?").then(|| [Some(says(b"one!")), None]));
    client.send(Said::Binary(says(b"else"))).await.unwrap();
    client.send(Said::Binary(says(b"one?"))).await.unwrap();
    // Both are there by now, and the first waits for us.
    client.send(Said::Ping(says(b"now"))).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Said::Pong(says(b"now")));
    assert_eq!(ends.incoming.recv().await, Some(Incoming::Binary(says(b"else"))));
    assert_eq!(ends.incoming.recv().await, Some(Incoming::Binary(says(b"one?"))));
    client.send(Said::Binary(says(b"one?"))).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Said::Binary(says(b"one!")));
}

#[actix::test]
async fn a_peer_of_another_version_is_told_so_by_close_4406() {
    let server = serve(KIND);
    // A browser refuses an answer that names none of its subprotocols, but it tells its page;
    // this client refuses such an answer at once, so it offers none.
    let (mut client, _) = tokio_tungstenite::connect_async(server.url.as_str()).await.unwrap();
    assert_eq!(closed_with(&mut client).await.0, 4406);
}

#[actix::test]
async fn a_message_in_pieces_comes_out_whole() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    let piece = |bytes: &'static [u8], opcode, last| {
        Said::Frame(RawFrame::message(Bytes::from_static(bytes), OpCode::Data(opcode), last))
    };
    client.send(piece(b"one ", Data::Text, false)).await.unwrap();
    client.send(Said::Ping(Bytes::new())).await.unwrap();
    client.send(piece(b"two ", Data::Continue, false)).await.unwrap();
    client.send(piece(b"three", Data::Continue, true)).await.unwrap();
    assert_eq!(ends.incoming.recv().await, Some(Incoming::Text("one two three".into())));
}

#[actix::test]
async fn a_message_over_the_limit_is_refused_with_4413_whole_or_in_pieces() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    client.send(Said::Binary(Bytes::from(vec![0; 1001]))).await.unwrap();
    assert_eq!(closed_with(&mut client).await.0, 4413);
    assert_eq!(ends.incoming.recv().await, None);

    let mut client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    for first in [true, false] {
        let opcode = if first { Data::Binary } else { Data::Continue };
        let piece = RawFrame::message(Bytes::from(vec![0; 600]), OpCode::Data(opcode), !first);
        client.send(Said::Frame(piece)).await.unwrap();
    }
    assert_eq!(closed_with(&mut client).await.0, 4413);
    assert_eq!(ends.incoming.recv().await, None);
}

#[actix::test]
async fn endless_empty_pieces_are_refused() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let _ends = server.ends.recv().await.unwrap();
    for n in 0..=FRAGMENTS_MAX {
        let opcode = if n == 0 { Data::Binary } else { Data::Continue };
        let piece = RawFrame::message(Bytes::new(), OpCode::Data(opcode), false);
        client.send(Said::Frame(piece)).await.unwrap();
    }
    assert_eq!(closed_with(&mut client).await.0, 4413);
}

#[actix::test]
async fn a_close_goes_out_after_what_was_said_before_and_its_reason_is_cut_between_characters() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let ends = server.ends.recv().await.unwrap();
    ends.outgoing.send(Outgoing::Text("last words".into())).await.unwrap();
    let long = "ä".repeat(100);
    ends.outgoing.send(Outgoing::Close(Code::KILLED, long.clone())).await.unwrap();
    drop(ends);
    assert_eq!(client.next().await.unwrap().unwrap(), Said::Text("last words".into()));
    let (code, reason) = closed_with(&mut client).await;
    assert_eq!((code, reason.len()), (4440, 122));
    assert!(long.starts_with(&reason));
}

#[actix::test]
async fn dropping_the_receiver_closes_the_socket_even_while_somebody_holds_the_sender() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let ends = server.ends.recv().await.unwrap();
    let sender = ends.outgoing.clone();
    sender.send(Outgoing::Text("said before".into())).await.unwrap();
    drop(ends);
    assert_eq!(client.next().await.unwrap().unwrap(), Said::Text("said before".into()));
    assert_eq!(closed_with(&mut client).await.0, 1000);
    sender.closed().await;
}

#[actix::test]
async fn a_socket_that_is_gone_closes_the_channel() {
    let mut server = serve(KIND);
    let client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    drop(client);
    assert_eq!(ends.incoming.recv().await, None);
    ends.outgoing.closed().await;
}

#[actix::test]
async fn how_a_peer_went_is_known_once_it_is_gone() {
    async fn gone(server: &mut Server) -> Left {
        let mut ends = server.ends.recv().await.unwrap();
        while ends.incoming.recv().await.is_some() {}
        ends.gone.how()
    }
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    client.close(None).await.unwrap();
    assert_eq!(gone(&mut server).await, Left::Closed);

    drop(dial(&server, "test.v1").await);
    assert_eq!(gone(&mut server).await, Left::Cut);

    let client = dial(&server, "test.v1").await;
    let stream = match client.get_ref() {
        tokio_tungstenite::MaybeTlsStream::Plain(stream) => stream,
        _ => panic!("there is no TLS here"),
    };
    // RST, as when a network cuts.
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(gone(&mut server).await, Left::Cut);

    for bad in [Said::Binary(Bytes::from(vec![0; 1001])), Said::Frame(continuation())] {
        let mut client = dial(&server, "test.v1").await;
        client.send(bad).await.unwrap();
        assert_eq!(gone(&mut server).await, Left::Broken);
    }
}

/// A piece of a message that was never begun.
fn continuation() -> RawFrame {
    RawFrame::message(Bytes::new(), OpCode::Data(Data::Continue), true)
}

#[actix::test]
async fn a_full_channel_stops_the_reading_and_loses_nothing() {
    let mut server = serve(KIND);
    let mut client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    let sending = actix_rt::spawn(async move {
        for n in 0..5000u32 {
            let mut message = vec![0; 1000];
            message[..4].copy_from_slice(&n.to_be_bytes());
            client.send(Said::Binary(message.into())).await.unwrap();
        }
        client
    });
    for n in 0..5000u32 {
        match ends.incoming.recv().await {
            Some(Incoming::Binary(bytes)) => assert_eq!(bytes[..4], n.to_be_bytes()),
            other => panic!("{other:?} instead of message {n}"),
        }
    }
    drop(sending.await.unwrap());
}

#[actix::test]
async fn a_peer_that_does_not_answer_pings_is_dropped() {
    let ping = Some((Duration::from_millis(20), Duration::from_millis(100)));
    let mut server = serve(SocketKind { ping, ..KIND });
    // This client answers pings only while it is read.
    let client = dial(&server, "test.v1").await;
    let mut ends = server.ends.recv().await.unwrap();
    assert_eq!(ends.incoming.recv().await, None);
    assert_eq!(ends.gone.how(), Left::Silent);
    drop(client);
}

#[actix::test]
async fn a_request_that_is_no_upgrade_is_refused_in_words() {
    let (req, mut body) = actix_web::test::TestRequest::get().uri("/").to_http_parts();
    let payload = <web::Payload as actix_web::FromRequest>::from_request(&req, &mut body).await.unwrap();
    let problem = upgrade(&req, payload, KIND).unwrap_err();
    assert_eq!(problem.code, Code::BAD_REQUEST);
}

#[test]
fn a_cut_never_splits_a_character() {
    assert_eq!(cut("äöü", 3), "ä");
    assert_eq!(cut("abc", 123), "abc");
    assert_eq!(cut("", 123), "");
}
