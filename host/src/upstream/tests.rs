use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use tollgate_settings::BaseUrl;

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\ndata";

/// A provider that is the test itself.
struct Provider(TcpListener);

impl Provider {
    async fn begin() -> (Self, Upstream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = UpstreamSettings {
            base_url: BaseUrl::parse(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap(),
            api_key_env: None,
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            trust: crate::tls::Trust::default(),
        };
        (Self(listener), Upstream::new(settings, None).unwrap())
    }

    async fn accept(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }

    async fn is_called(&self) -> bool {
        tokio::task::yield_now().await;
        let mut accept = Box::pin(self.0.accept());
        std::future::poll_fn(|cx| std::task::Poll::Ready(accept.as_mut().poll(cx).is_ready())).await
    }
}

async fn ask(upstream: &Upstream) -> Result<Received, Fault> {
    upstream.send("/chat/completions", HeaderMap::new(), Bytes::from_static(b"{}")).await
}

/// Reads one request, and gives its head.
async fn hear(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request ends early");
    }
    String::from_utf8(request).unwrap()
}

async fn answer(stream: &mut TcpStream, bytes: &[u8]) -> String {
    let heard = hear(stream).await;
    stream.write_all(bytes).await.unwrap();
    heard
}

/// Lets the reactor see what has happened to sockets.
async fn look() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn exchanges_in_turn_use_one_connection() {
    let (provider, upstream) = Provider::begin().await;
    let (first, mut stream) = tokio::join!(ask(&upstream), async {
        let mut stream = provider.accept().await;
        answer(&mut stream, ANSWER).await;
        stream
    });
    assert_eq!(first.unwrap().whole().unwrap(), "{}");
    upstream.sweep();
    let (second, heard) = tokio::join!(ask(&upstream), answer(&mut stream, ANSWER));
    assert_eq!(second.unwrap().whole().unwrap(), "{}");
    let address = provider.0.local_addr().unwrap();
    assert!(heard.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("host: {address}\r\n")), "{heard}");
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let (provider, upstream) = Provider::begin().await;
    for _ in 0..3 {
        let (received, ()) = tokio::join!(ask(&upstream), async {
            let mut stream = provider.accept().await;
            answer(&mut stream, ANSWER).await;
        });
        assert_eq!(received.unwrap().whole().unwrap(), "{}");
        look().await;
    }
}

#[tokio::test]
async fn a_request_that_was_begun_is_not_sent_again() {
    let (provider, upstream) = Provider::begin().await;
    let (first, mut stream) = tokio::join!(ask(&upstream), async {
        let mut stream = provider.accept().await;
        answer(&mut stream, ANSWER).await;
        stream
    });
    first.unwrap();
    let (second, ()) = tokio::join!(ask(&upstream), async {
        hear(&mut stream).await;
        drop(stream);
    });
    assert_eq!(second.err(), Some(Fault::Closed));
    assert!(!provider.is_called().await);
}

#[tokio::test]
async fn a_connection_whose_answer_was_not_read_to_its_end_is_closed() {
    let (provider, upstream) = Provider::begin().await;
    let (received, mut stream) = tokio::join!(ask(&upstream), async {
        let mut stream = provider.accept().await;
        answer(&mut stream, HALF).await;
        stream
    });
    drop(received.unwrap());
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stream_read_to_its_end_gives_its_connection_back() {
    let (provider, upstream) = Provider::begin().await;
    let (received, mut stream) = tokio::join!(ask(&upstream), async {
        let mut stream = provider.accept().await;
        answer(&mut stream, HALF).await;
        stream
    });
    let Answer::Flowing(mut body) = received.unwrap().into_body() else { panic!("it is a stream") };
    let mut next = async || std::future::poll_fn(|cx| body.poll_chunk(cx)).await.transpose().unwrap();
    assert_eq!(next().await.unwrap(), "data");
    let (rest, written) = tokio::join!(next(), stream.write_all(b": [D]"));
    written.unwrap();
    assert_eq!(rest.unwrap(), ": [D]");
    assert_eq!(next().await, None);
    let (again, _) = tokio::join!(ask(&upstream), answer(&mut stream, ANSWER));
    again.unwrap();
}

/// Tokio lets a task that has done much in one turn find nothing ready until its next one.
#[tokio::test]
async fn an_answer_is_heard_by_a_task_whose_turn_is_over() {
    for spent in 0..127 {
        let (provider, upstream) = Provider::begin().await;
        let asking = tokio::spawn(async move {
            let mut asking = Box::pin(ask(&upstream));
            std::future::poll_fn(|cx| {
                for _ in 0..spent {
                    let _spent = std::pin::pin!(tokio::task::consume_budget()).poll(cx);
                }
                asking.as_mut().poll(cx)
            })
            .await
            .map(|received| received.whole().cloned())
        });
        answer(&mut provider.accept().await, ANSWER).await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(asking.is_finished(), "nobody woke it: {spent}");
        assert_eq!(asking.await.unwrap().unwrap().unwrap(), "{}", "{spent}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_fault() {
    let (provider, upstream) = Provider::begin().await;
    let (received, ()) = tokio::join!(ask(&upstream), async {
        answer(&mut provider.accept().await, &ANSWER[..ANSWER.len() - 1]).await;
    });
    assert_eq!(received.err(), Some(Fault::Closed));
}

#[tokio::test]
async fn a_connection_closed_by_the_other_end_is_swept_away() {
    let (provider, upstream) = Provider::begin().await;
    let (received, mut stream) = tokio::join!(ask(&upstream), async {
        let mut stream = provider.accept().await;
        answer(&mut stream, ANSWER).await;
        stream
    });
    received.unwrap();
    stream.shutdown().await.unwrap();
    look().await;
    upstream.sweep();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "it was closed at this end too");
}
