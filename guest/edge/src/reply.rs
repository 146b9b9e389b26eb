//! The ways an exchange is answered: an upstream's answer, or a reply in the policy's words.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::exchange::{Exchange, Failure};
use crate::platform::{Cause, Client, Platform};
use crate::relay::Relay;
use crate::upstream::{Answer, Received};
use crate::{translate, wit};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl<P: Platform> Exchange<P> {
    /// Sends an upstream's answer. One that is here as a whole is settled now, a stream when it ends.
    pub(crate) fn relay(
        mut self,
        relay: wit::Relay,
        received: Received<<P::Client as Client>::Body>,
    ) -> Response<Body<P>> {
        let mut headers = translate::pick(&received.headers, &self.shell.generation.relay_headers);
        if let Err(what) =
            translate::add_headers(&mut headers, relay.headers, &self.shell.generation.own_headers)
        {
            return self.broken(Cause(what));
        }
        self.status = received.status.as_u16();
        self.stamp(&mut headers);
        match received.answer {
            Answer::Whole(bytes) => {
                self.finish(wit::Ending::Completed);
                whole(received.status, headers, bytes)
            }
            Answer::Flowing(flowing) => {
                let body = Body::relay(Relay::new(self, flowing, relay.inspect));
                respond(received.status, headers, body)
            }
        }
    }

    /// Sends a reply of the policy's own making.
    pub(crate) fn reply(mut self, reply: wit::Reply) -> Response<Body<P>> {
        match self.respond_with(reply) {
            Ok(response) => {
                self.finish(self.replied());
                response
            }
            Err(cause) => self.broken(cause),
        }
    }

    /// Sends the policy's words for a failure that only the shell can see.
    pub(crate) fn refuse(self, failure: &Failure) -> Response<Body<P>> {
        let ticket = (!self.ticket.is_empty()).then_some(&*self.ticket);
        let standings;
        let failure = match failure {
            Failure::Malformed(what) => wit::FailureParam::Malformed(what),
            Failure::BodyTooLarge(limit) => wit::FailureParam::BodyTooLarge(*limit),
            Failure::UnknownKey => wit::FailureParam::UnknownKey,
            Failure::Limited { claim, retry_after_ms, standings: list } => {
                standings = list.iter().map(translate::standing).collect::<Vec<_>>();
                wit::FailureParam::Limited(wit::LimitedParam {
                    claim: *claim,
                    retry_after_ms: *retry_after_ms,
                    standings: &standings,
                })
            }
            Failure::LedgerUnavailable => wit::FailureParam::LedgerUnavailable,
        };
        let reply = self.shell.generation.gateway.refuse(ticket, failure);
        self.reply(reply)
    }

    /// How an exchange ends that got a reply: an upstream may have answered all the same, and is paid.
    fn replied(&self) -> wit::Ending {
        if self.dispatched() { wit::Ending::Completed } else { wit::Ending::Undispatched }
    }

    /// Answers 500 when the policy said what cannot be, in its own words if it has any.
    pub(crate) fn broken(mut self, cause: Cause) -> Response<Body<P>> {
        self.note("the policy gave no answer", &cause);
        let reply = self.shell.generation.gateway.refuse(None, wit::FailureParam::Internal(&self.id));
        let response = self.respond_with(reply).unwrap_or_else(|_| self.last_words());
        self.finish(wit::Ending::PolicyFailed);
        response
    }

    fn respond_with(&mut self, reply: wit::Reply) -> Result<Response<Body<P>>, Cause> {
        let status = StatusCode::from_u16(reply.status)
            .map_err(|_| Cause("the policy replied with a status that HTTP does not have"))?;
        let mut headers = HeaderMap::new();
        translate::add_headers(&mut headers, reply.headers, &self.shell.generation.own_headers)
            .map_err(Cause)?;
        self.status = status.as_u16();
        self.stamp(&mut headers);
        Ok(whole(status, headers, Bytes::from(reply.body)))
    }

    /// What is said when the policy has no words.
    fn last_words(&mut self) -> Response<Body<P>> {
        let error = format!(
            r#"{{"error":{{"message":"The policy failed. Request id: {}","type":"server_error","param":null,"code":"internal_error"}}}}"#,
            self.id
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.status = 500;
        self.stamp(&mut headers);
        whole(StatusCode::INTERNAL_SERVER_ERROR, headers, Bytes::from(error))
    }

    fn stamp(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(REQUEST_ID, id);
        }
    }
}

/// A response whose body is here, with its length: a platform that is not told sends it in chunks.
fn whole<P: Platform>(status: StatusCode, mut headers: HeaderMap, bytes: Bytes) -> Response<Body<P>> {
    if !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
    respond(status, headers, Body::whole(bytes))
}

fn respond<P: Platform>(status: StatusCode, headers: HeaderMap, body: Body<P>) -> Response<Body<P>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
