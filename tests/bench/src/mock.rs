//! The provider of the bench: answers at once, in OpenAI's shape. The path says what it answers:
//! `/plain/v1/..` one JSON document of about 1 KB, `/wait-<ms>/v1/..` the same after so long, `/stream-<events>-<ms>/v1/..` that many server-sent events
//! with that pause before each. The request's body is read to its end and not looked at.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{Interval, MissedTickBehavior};

const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" some words of it\"},\"finish_reason\":null}]}\n\n";
const LAST_EVENTS: &[u8] = b"data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
\"model\":\"bench\",\"choices\":[],\"usage\":{\"prompt_tokens\":250,\"completion_tokens\":180,\"total_tokens\":430}}\n\n\
data: [DONE]\n\n";

/// Listens on a free port of loopback, prints its address on one line, and serves until it is killed.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let answer = plain_answer();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(request, answer.clone()));
            // A connection that ends badly is the client's business: the load generator counts it there.
            let _ended = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    plain: Bytes,
) -> Result<Response<Either<Full<Bytes>, Events>>, Infallible> {
    let kind = Kind::of(request.uri().path());
    let drained = request.into_body().collect().await.is_ok();
    if let Some(Kind::Plain { after }) = kind
        && !after.is_zero()
    {
        tokio::time::sleep(after).await;
    }
    let (status, content_type, body) = match kind {
        Some(Kind::Plain { .. }) if drained => {
            (StatusCode::OK, "application/json", Either::Left(Full::new(plain)))
        }
        Some(Kind::Stream { events, pause }) if drained => {
            (StatusCode::OK, "text/event-stream", Either::Right(Events::new(events, pause)))
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", Either::Left(Full::new(Bytes::from_static(b"?")))),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    Ok(response)
}

#[derive(Clone, Copy)]
enum Kind {
    Plain { after: Duration },
    Stream { events: u32, pause: Duration },
}

impl Kind {
    fn of(path: &str) -> Option<Self> {
        let first = path.trim_start_matches('/').split('/').next()?;
        if first == "plain" {
            return Some(Self::Plain { after: Duration::ZERO });
        }
        if let Some(ms) = first.strip_prefix("wait-") {
            return Some(Self::Plain { after: Duration::from_millis(ms.parse().ok()?) });
        }
        let (events, ms) = first.strip_prefix("stream-")?.split_once('-')?;
        Some(Self::Stream { events: events.parse().ok()?, pause: Duration::from_millis(ms.parse().ok()?) })
    }
}

/// Server-sent events at a pace.
struct Events {
    left: u32,
    ended: bool,
    interval: Interval,
}

impl Events {
    fn new(left: u32, pause: Duration) -> Self {
        let mut interval = tokio::time::interval(pause.max(Duration::from_millis(1)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { left, ended: false, interval }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.interval.poll_tick(context).is_pending() {
            return Poll::Pending;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(EVENT)))))
            }
            None => {
                self.ended = true;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(LAST_EVENTS)))))
            }
        }
    }
}

/// The plain answer: about 1 KB, as OpenAI writes it.
pub fn plain_answer() -> Bytes {
    let content = "It is what it is, and it says so in plain words. ".repeat(10);
    Bytes::from(format!(
        "{{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\",\
         \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{content}\",\"refusal\":null}},\
         \"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":250,\"completion_tokens\":180,\
         \"total_tokens\":430,\"prompt_tokens_details\":{{\"cached_tokens\":0,\"audio_tokens\":0}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\
         \"rejected_prediction_tokens\":0}}}},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\"}}"
    ))
}
