//! The policy linked, its calls made directly.

use anyhow::{Result, anyhow, bail};
use tollgate_policy::{
    Admission, Answer, Attempt, Ending, Gateway, Head, Header, Identity, Load, Outcome, Piece, Settings,
    Standing, Surroundings, Ticket, Verdict,
};

use super::{AUTHORIZATION, Calls, NOW, PATH, body, conversation};

const AROUND: Surroundings = Surroundings { now_ms: NOW, random: 0, latencies: Vec::new() };

pub(super) struct Native {
    gateway: Gateway,
    head: Head,
    plain: Vec<u8>,
    conversation: Vec<u8>,
    streamed: Vec<u8>,
    plain_answer: Attempt,
    stream_answer: Attempt,
    stream: Ticket,
}

impl Native {
    pub(super) fn load(config: &str) -> Result<Self> {
        let settings = Settings {
            config,
            shell_tables: vec!["server".into(), "upstreams".into()],
            upstreams: vec!["mock".into()],
            catalogue: None,
        };
        let loaded = Gateway::load(&settings).map_err(|problems| anyhow!("{problems:?}"))?;
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        let attempt = |content_type: &str, body: Option<Vec<u8>>| Attempt {
            target: 0,
            number: 1,
            outcome: Outcome::Answer(Answer {
                status: 200,
                headers: vec![header("content-type", content_type)],
                body,
            }),
            standings: vec![Standing { remaining: 10, reset_ms: 1000 }; 3],
            now_ms: NOW,
            random: 0,
            load: Load { requests: 1, retries: 0 },
        };
        Ok(Self {
            gateway: loaded.gateway,
            head: Head {
                method: "POST".into(),
                path: PATH.into(),
                headers: vec![header("authorization", AUTHORIZATION)],
            },
            plain: body(false),
            conversation: conversation(),
            streamed: body(true),
            plain_answer: attempt("application/json", Some(crate::mock::plain_answer().to_vec())),
            stream_answer: attempt("text/event-stream", None),
            stream: Ticket::new(),
        })
    }

    fn judged(&self, body: &[u8], attempt: &Attempt) -> Result<Ticket> {
        let Identity::Caller(caller) = self.gateway.identify(&self.head) else { bail!("not identified") };
        let Admission::Admitted(admitted) =
            self.gateway.admit(&caller.ticket, None, body, &AROUND).map_err(bad)?
        else {
            bail!("not admitted")
        };
        match self.gateway.judge(&admitted.ticket, attempt).map_err(bad)?.verdict {
            Verdict::Relay { ticket, .. } => Ok(ticket),
            _ => bail!("not relayed"),
        }
    }
}

impl Calls for Native {
    fn exchange(&mut self) -> Result<()> {
        let ticket = self.judged(&self.plain, &self.plain_answer)?;
        let settlement = self.gateway.settle(&ticket, Ending::Completed).map_err(bad)?;
        std::hint::black_box(settlement);
        Ok(())
    }

    fn converse(&mut self) -> Result<()> {
        self.judged(&self.conversation, &self.plain_answer)?;
        Ok(())
    }

    fn begin_stream(&mut self) -> Result<()> {
        self.stream = self.judged(&self.streamed, &self.stream_answer)?;
        Ok(())
    }

    fn feed(&mut self, chunk: &[u8]) -> Result<()> {
        let fed = self.gateway.feed(&self.stream, Piece::Chunk(chunk)).map_err(bad)?;
        if let Some(ticket) = fed.ticket {
            self.stream = ticket;
        }
        std::hint::black_box(fed.output);
        Ok(())
    }
}

fn bad(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("{error:?}")
}
