//! The guard with a real hyper server on top.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{Guarded, Violation, violation};
use super::{LIMIT, random, samples};

/// A server that says what it was asked, and with what body.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let method = request.method().clone();
    if let Some(violation) = violation(&method) {
        let mut response = Response::new(Full::from(violation.text()));
        *response.status_mut() = if violation.too_large() {
            http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else {
            http::StatusCode::BAD_REQUEST
        };
        return Ok(response);
    }
    let path = request.uri().path().to_owned();
    let text = match request.into_body().collect().await {
        Ok(body) => format!("[{method} {path} {}]", String::from_utf8_lossy(&body.to_bytes())),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("[broken: {}]", source.unwrap_or_default())
        }
    };
    Ok(Response::new(Full::from(text)))
}

/// What a client gets that sends these bytes in pieces and then waits for the end.
async fn talk(bytes: &[u8], piece: usize) -> String {
    let (mut client, server) = tokio::io::duplex(512);
    let serving = tokio::spawn(async move {
        let io = TokioIo::new(Guarded::new(server, LIMIT));
        hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(answer)).await
    });
    let (mut read, mut write) = tokio::io::split(&mut client);
    let mut answer = Vec::new();
    let send = async {
        for piece in bytes.chunks(piece) {
            if write.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _closed = write.shutdown().await;
    };
    let (_, received) = tokio::join!(send, read.read_to_end(&mut answer));
    received.unwrap();
    let _ended = serving.await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn answers_pipelined_requests() {
    let sent = "POST /a HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nhi\
                POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nyo\r\n1;e\r\n!\r\n0\r\nt: 1\r\n\r\n\
                GET /c HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for piece in [1, 2, 7, 64, 1_000] {
        let answer = talk(sent.as_bytes(), piece).await;
        let bodies: Vec<&str> = answer.split('[').skip(1).filter_map(|part| part.split(']').next()).collect();
        assert_eq!(bodies, ["POST /a hi", "POST /b yo!", "GET /c "], "{answer}");
    }
}

#[tokio::test]
async fn never_sees_a_bad_head_and_closes_after_the_refusal() {
    let sent = "GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\nx: y\r\n\r\nGET /c HTTP/1.1\r\nhost: a\r\n\r\n";
    for piece in [1, 5, 1_000] {
        let answer = talk(sent.as_bytes(), piece).await;
        assert!(answer.contains("[GET /a ]"), "{answer}");
        assert!(
            answer.contains("HTTP/1.1 400 Bad Request\r\n") && answer.contains("connection: close\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with(Violation::BareLf.text()), "{answer}");
    }
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(LIMIT));
    assert!(talk(large.as_bytes(), 100).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn fails_a_body_whose_framing_breaks() {
    let sent =
        "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nyo\r\n2 \r\nhi\r\n0\r\n\r\n";
    for piece in [1, 1_000] {
        let answer = talk(sent.as_bytes(), piece).await;
        assert!(answer.contains(&format!("[broken: {}]", Violation::ChunkSize.text())), "{answer}");
    }
}

#[tokio::test]
async fn reads_as_many_headers_as_are_let_through() {
    let sent = format!("GET /a HTTP/1.1\r\nhost: a\r\n{}connection: close\r\n\r\n", "a:\r\n".repeat(98));
    assert!(talk(sent.as_bytes(), 1_000).await.contains("[GET /a ]"));
}

/// What is let through never meets one of hyper's own, bodiless refusals.
#[tokio::test]
async fn never_refuses_by_itself() {
    let mut random = random();
    let heads: Vec<Vec<u8>> = samples().into_iter().filter(|sample| sample.len() < 90).collect();
    for _ in 0..3_000 {
        let mut bytes = heads[random(heads.len())].clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                1 => bytes.insert(at, u8::try_from(random(256)).unwrap()),
                _ => drop(bytes.remove(at)),
            }
        }
        let answer = talk(&bytes, 1_000).await;
        let own = answer
            .split("HTTP/1.1 ")
            .filter(|part| part.starts_with('4') && part.contains("content-length: 0"));
        assert_eq!(own.count(), 0, "{answer} to {:?}", String::from_utf8_lossy(&bytes));
    }
}
