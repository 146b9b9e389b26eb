//! The ways an exchange is answered: an upstream's answer, or a reply in the policy's words.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::{Exchange, Failure};
use crate::body::Body;
use crate::policy::{Broken, wit};
use crate::relay::Relay;
use crate::translate;
use crate::upstream::{Answer, Received};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Exchange {
    /// Sends an upstream's answer. One that is here as a whole is settled now, a stream when it ends.
    pub(super) fn relay(mut self, relay: wit::Relay, received: Received) -> Response<Body> {
        let status = received.status();
        let mut headers = translate::pick(received.headers(), &self.generation.relay_headers);
        if let Err(what) = translate::add_headers(&mut headers, relay.headers, &self.generation.own_headers) {
            return self.broken(&Broken::new(what));
        }
        self.record.status = status.as_u16();
        self.stamp(&mut headers);
        let body = match received.into_body() {
            Answer::Whole(bytes) => {
                self.finish(wit::Ending::Completed);
                Body::whole(bytes)
            }
            Answer::Flowing(flowing) => Body::relay(Relay::new(self, flowing, relay.inspect)),
        };
        respond(status, headers, body)
    }

    /// Sends a reply of the policy's own making.
    pub(super) fn reply(mut self, reply: wit::Reply) -> Response<Body> {
        match self.respond_with(reply) {
            Ok(response) => {
                self.finish(self.replied());
                response
            }
            Err(broken) => self.broken(&broken),
        }
    }

    /// Sends the policy's words for a failure that only the shell can see.
    pub(crate) fn refuse(mut self, failure: &Failure) -> Response<Body> {
        let ticket = (!self.ticket.is_empty()).then_some(&*self.ticket);
        let standings;
        let guest = match failure {
            Failure::Malformed(what) => wit::Failure::Malformed(what),
            Failure::HeadTooLarge(what) => wit::Failure::HeadTooLarge(what),
            Failure::BodyTooLarge(limit) => wit::Failure::BodyTooLarge(*limit),
            Failure::RequestTimeout => wit::Failure::RequestTimeout,
            Failure::UnknownKey => wit::Failure::UnknownKey,
            Failure::Limited { claim, retry_after_ms, standings: list } => {
                standings = list.iter().map(translate::standing).collect::<Vec<_>>();
                wit::Failure::Limited(wit::Limited {
                    claim: *claim,
                    retry_after_ms: *retry_after_ms,
                    standings: &standings,
                })
            }
            Failure::LedgerUnavailable => wit::Failure::LedgerUnavailable,
        };
        let refused = self.generation.policy.call(|policy| policy.refuse(ticket, guest));
        match refused.and_then(|reply| self.respond_with(reply)) {
            Ok(response) => {
                self.finish(self.replied());
                response
            }
            Err(broken) => self.broken(&broken),
        }
    }

    /// How an exchange ends that got a reply: an upstream may have answered all the same, and is paid.
    fn replied(&self) -> wit::Ending {
        if self.dispatched() { wit::Ending::Completed } else { wit::Ending::Undispatched }
    }

    /// Answers 500 after a trap or a missed deadline, in the words of a fresh instance if it has any.
    pub(super) fn broken(mut self, broken: &Broken) -> Response<Body> {
        tracing::error!(request_id = %self.id, cause = %broken, "the policy gave no answer");
        let policy = &self.generation.policy;
        let refused = policy.call_fresh(|policy| policy.refuse(None, wit::Failure::Internal(&self.id)));
        let response = match refused.and_then(|reply| self.respond_with(reply)) {
            Ok(response) => response,
            Err(_) => self.last_words(),
        };
        self.finish(wit::Ending::PolicyFailed);
        response
    }

    fn respond_with(&mut self, reply: wit::Reply) -> Result<Response<Body>, Broken> {
        let status = StatusCode::from_u16(reply.status)
            .map_err(|_| Broken::new("the policy replied with a status that HTTP does not have"))?;
        let mut headers = HeaderMap::with_capacity(reply.headers.len().min(64).saturating_add(3));
        let added = translate::add_headers(&mut headers, reply.headers, &self.generation.own_headers);
        added.map_err(Broken::new)?;
        self.record.status = status.as_u16();
        self.stamp(&mut headers);
        Ok(respond(status, headers, Body::whole(Bytes::from(reply.body))))
    }

    /// What is said when even a fresh instance has no words.
    fn last_words(&mut self) -> Response<Body> {
        let error = format!(
            r#"{{"error":{{"message":"The policy failed. Request id: {}","type":"server_error","param":null,"code":"internal_error"}}}}"#,
            self.id
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.record.status = 500;
        self.stamp(&mut headers);
        respond(StatusCode::INTERNAL_SERVER_ERROR, headers, Body::whole(Bytes::from(error)))
    }

    fn stamp(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(REQUEST_ID, id);
        }
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
