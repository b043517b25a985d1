//! What is sent, what is taken for an answer, and every limit.

use std::time::Duration;

use bytes::Bytes;
use fetch::Client;
use http::{Request, StatusCode};

use crate::server::{Server, Then};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

async fn saying(says: impl Into<String>, then: Then) -> Server {
    Server::start(says.into(), then, None).await
}

fn get(server: &Server, target: &str) -> Request<Bytes> {
    Request::get(format!("http://{}{target}", server.address)).body(Bytes::new()).expect("a request")
}

#[tokio::test]
async fn a_question_is_asked_as_it_stands_and_answered() {
    let server = saying("HTTP/1.1 404 Not Found\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nno", Then::Close).await;
    let post = Request::post(format!("http://{}/a/b?c=d&e", server.address))
        .header("host", "elsewhere")
        .header("x-own", "1")
        .body(Bytes::from("body"))
        .expect("a request");
    let answer = Client::default().whole(post, LONG, 2).await.expect("an answer");
    assert_eq!((answer.status(), &answer.headers()["x-a"]), (StatusCode::NOT_FOUND, &"1".parse().expect("a value")));
    assert_eq!(answer.body(), "no");
    let head = &server.heads()[0];
    assert!(head.starts_with("POST /a/b?c=d&e HTTP/1.1\r\n"), "{head}");
    for line in
        ["connection: close", "accept-encoding: identity", "x-own: 1", "content-length: 4", "user-agent: Portico/"]
    {
        assert!(head.contains(&format!("\r\n{line}")), "{line}: {head}");
    }
    let hosts: Vec<&str> = head.lines().filter(|line| line.starts_with("host:")).collect();
    assert_eq!(hosts, [format!("host: {}", server.address)]);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let other = saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close).await;
    let says = format!("HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", other.address);
    let server = saying(says, Then::Close).await;
    let answer = Client::default().ask(get(&server, ""), LONG).await.expect("an answer");
    assert_eq!((answer.status(), answer.headers().len()), (StatusCode::FOUND, 2));
    assert!(server.heads()[0].starts_with("GET / HTTP/1.1\r\n"));
    assert_eq!(other.heads().len(), 0);
}

#[tokio::test]
async fn what_does_not_come_is_waited_for_no_longer_than_the_limit() {
    for says in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let server = saying(says, Then::Wait).await;
        let why = Client::default().whole(get(&server, "/"), SHORT, 100).await.expect_err("it never ends");
        assert_eq!(why, "there was no answer within 50 ms");
        tokio::time::timeout(LONG, server.left.notified()).await.expect("its connection is closed");
    }
}

#[tokio::test]
async fn what_is_too_long_cut_off_or_no_http_is_no_answer() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0123\r\n4\r\n4567\r\n0\r\n\r\n";
    for (says, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n01234567".to_owned(), "longer than 7 bytes"),
        (chunked.to_owned(), "longer than 7 bytes"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n01234".to_owned(), "cut off"),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20)), "no HTTP"),
        ("SSH-2.0-x\r\n".to_owned(), "no HTTP"),
        (String::new(), "no HTTP"),
    ] {
        let server = saying(says, Then::Close).await;
        let why = Client::default().whole(get(&server, "/"), LONG, 7).await.expect_err("no answer");
        assert!(why.contains(expected), "{expected}: {why}");
    }
    let server = saying(chunked, Then::Close).await;
    assert_eq!(Client::default().whole(get(&server, "/"), LONG, 8).await.expect("an answer").body(), "01234567");
}

#[tokio::test]
async fn an_answer_in_pieces_is_read_as_it_comes_and_its_connection_ends_with_it() {
    let says = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0123\r\n";
    let server = saying(says, Then::Wait).await;
    let mut answer = Client::default().ask(get(&server, "/"), LONG).await.expect("an answer");
    assert_eq!(answer.chunk().await, Ok(Some(Bytes::from("0123"))));
    drop(answer);
    tokio::time::timeout(LONG, server.left.notified()).await.expect("its connection is closed");
    let server = saying(format!("{says}0\r\n\r\n"), Then::Close).await;
    let mut answer = Client::default().ask(get(&server, "/"), LONG).await.expect("an answer");
    assert_eq!(answer.chunk().await, Ok(Some(Bytes::from("0123"))));
    assert_eq!(answer.chunk().await, Ok(None));
}

#[tokio::test]
async fn nobody_there_is_said() {
    let request = |address: &str| Request::get(address).body(Bytes::new()).expect("a request");
    for (address, expected) in [
        ("http://127.0.0.1:1/", "no connection"),
        ("http://no-such-host.invalid/", "no connection"),
        ("/relative", "no http:// or https:// address"),
    ] {
        let why = Client::default().ask(request(address), LONG).await.expect_err(address);
        assert!(why.contains(expected), "{why}");
    }
}
