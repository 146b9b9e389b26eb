//! The answer to a client, written while it is made.
//!
//! A client that leaves is noticed in two ways: the platform takes no more bytes, or says that the answer cannot be
//! delivered. Either drops the body, and with it the exchange settles.

use std::future::{Future, IntoFuture as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::client::fields;
use crate::{Body, Cut, Platform};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use wasip3::http::types::{ErrorCode, Fields, Response};
use wasip3::http_compat::BodyWriter;
use wasip3::spawn;
use wasip3::wit_bindgen::FutureReader;

/// What is answered as long as there is no configuration that can be used. What is wrong with it is in the log.
const UNCONFIGURED: &str = r#"{"error":{"message":"The gateway is not configured. Its log says why.","type":"server_error","param":null,"code":"configuration_error"}}"#;

/// Begins to answer; `after` is for when that has ended, one way or the other.
pub fn response<P: Platform>(
    response: http::Response<Body<P>>,
    after: impl FnOnce() + 'static,
) -> Result<Response, ErrorCode> {
    let (head, body) = response.into_parts();
    let fields = fields(&head.headers).ok_or(ErrorCode::HttpProtocolError)?;
    let (writer, contents, trailers) = BodyWriter::new();
    let (answer, delivered) = Response::new(fields, Some(contents), trailers);
    answer.set_status_code(head.status.as_u16()).map_err(|()| ErrorCode::HttpProtocolError)?;
    spawn(async move {
        write(writer, body, delivered).await;
        after();
    });
    Ok(answer)
}

/// 503, without a policy to word it.
pub fn unconfigured<P: Platform>() -> Result<Response, ErrorCode> {
    let mut response = http::Response::new(Body::<P>::from(Bytes::from_static(UNCONFIGURED.as_bytes())));
    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    self::response(response, || ())
}

enum Next {
    Frame(Option<Result<Frame<Bytes>, Cut>>),
    /// The client is gone.
    Left,
}

async fn write<P: Platform>(
    mut writer: BodyWriter,
    body: Body<P>,
    delivered: FutureReader<Result<(), ErrorCode>>,
) {
    let mut body = pin!(body);
    let mut delivered = pin!(delivered.into_future());
    let mut is_told = false;
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                return Poll::Ready(Next::Frame(frame));
            }
            if !is_told && let Poll::Ready(told) = delivered.as_mut().poll(cx) {
                is_told = true;
                // Some platforms say at once that all is well, before they know.
                if told.is_err() {
                    return Poll::Ready(Next::Left);
                }
            }
            Poll::Pending
        });
        match next.await {
            Next::Frame(Some(Ok(frame))) => {
                if writer.send_frame(frame.map_data(Vec::from)).await.is_err() {
                    return;
                }
            }
            Next::Frame(Some(Err(cut))) => {
                // The client must not take half an answer for a whole one.
                let _ =
                    writer.result_writer.write(Err(ErrorCode::InternalError(Some(cut.to_string())))).await;
                return;
            }
            Next::Frame(None) => break,
            Next::Left => return,
        }
    }
    drop(writer.stream_writer);
    let none: Option<Fields> = None;
    let _ = writer.result_writer.write(Ok(none)).await;
}
