//! The ways an exchange is answered: an upstream's answer, or a reply in the policy's words.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::{Exchange, Failure};
use crate::body::Body;
use crate::policy::{Broken, wit};
use crate::relay::Relay;
use crate::translate;
use crate::upstream::{Answer, Received};

impl Exchange {
    /// Sends an upstream's answer. One that is here as a whole is settled now, a stream when it ends.
    pub(super) fn relay(mut self, relay: wit::Relay, received: Received) -> Response<Body> {
        let status = received.status();
        let mut headers = translate::pick(received.headers(), &self.generation.relay_headers);
        translate::add_headers(&mut headers, &relay.headers);
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
        let ending = if self.dispatched() { wit::Ending::Completed } else { wit::Ending::Undispatched };
        let response = self.respond_with(reply);
        self.finish(ending);
        response
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
        match self.generation.policy.call(|policy| policy.refuse(ticket, guest)) {
            Ok(reply) => {
                let response = self.respond_with(reply);
                self.finish(wit::Ending::Undispatched);
                response
            }
            Err(broken) => self.broken(&broken),
        }
    }

    /// Answers 500 after a trap or a missed deadline, in the words of a fresh instance if it has any.
    pub(super) fn broken(mut self, broken: &Broken) -> Response<Body> {
        tracing::error!(request_id = %self.id, cause = %broken, "the policy gave no answer");
        let refused = self
            .generation
            .policy
            .call_fresh(|policy| policy.refuse(None, wit::Failure::Internal(&self.id)))
            .unwrap_or_else(|_| wit::Reply {
                status: 500,
                headers: Vec::new(),
                body: format!(
                    "{{\"error\":{{\"message\":\"The policy failed. Request id: {}\",\"type\":\"server_error\",\
                     \"param\":null,\"code\":\"internal_error\"}}}}",
                    self.id
                )
                .into_bytes(),
            });
        let response = self.respond_with(refused);
        self.finish(wit::Ending::PolicyFailed);
        response
    }

    fn respond_with(&mut self, reply: wit::Reply) -> Response<Body> {
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::with_capacity(reply.headers.len().saturating_add(3));
        translate::add_headers(&mut headers, &reply.headers);
        self.record.status = status.as_u16();
        self.stamp(&mut headers);
        respond(status, headers, Body::whole(Bytes::from(reply.body)))
    }

    fn stamp(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert("x-request-id", id);
        }
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
