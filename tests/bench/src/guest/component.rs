//! The embedded component, its calls made as the server makes them: on a warm instance, with values borrowed.

use anyhow::{Result, anyhow, bail};
use tollgate::policy::{Broken, Engine, Policy, Refused, wit};

use super::{AUTHORIZATION, Calls, NOW, PATH, body, conversation};

pub(super) struct Component {
    policy: Policy,
    /// Where the policy has the names of the headers that it is passed.
    authorization: u32,
    content_type: u32,
    plain: Vec<u8>,
    conversation: Vec<u8>,
    streamed: Vec<u8>,
    answer: Vec<u8>,
    stream: Vec<u8>,
}

const STANDINGS: [wit::Standing; 3] = [wit::Standing { remaining: 10, reset_ms: 1000 }; 3];

const AROUND: wit::Surroundings<'_> = wit::Surroundings { now_ms: NOW, random: 0, latencies: &[] };

impl Component {
    pub(super) fn load(config: &str) -> Result<Self> {
        let component = Engine::new()?.embedded()?;
        let (tables, upstreams) = (vec!["server".into(), "upstreams".into()], vec!["mock".into()]);
        let policy =
            Policy::load(component, config.into(), tables, upstreams, None).map_err(
                |refused| match refused {
                    Refused::Problems(problems) => anyhow!("{problems:?}"),
                    Refused::Broken(broken) => broken.into(),
                },
            )?;
        let place = |names: &[String], name: &str| {
            let found = (0..).zip(names).find(|(_, found)| *found == name);
            found.map(|(place, _)| place).ok_or_else(|| anyhow!("the policy does not read {name}"))
        };
        Ok(Self {
            authorization: place(&policy.headers().request, "authorization")?,
            content_type: place(&policy.headers().answer, "content-type")?,
            policy,
            plain: body(false),
            conversation: conversation(),
            streamed: body(true),
            answer: crate::mock::plain_answer().to_vec(),
            stream: Vec::new(),
        })
    }

    fn judged(&self, body: &[u8], content_type: &str, answer: Option<&[u8]>) -> Result<Vec<u8>> {
        let headers = [wit::HeaderParam { name: self.authorization, value: AUTHORIZATION }];
        let head = wit::Head { method: "POST", path: PATH, headers: &headers };
        let wit::Identity::Caller(caller) = self.policy.call(|policy| policy.identify(head))? else {
            bail!("not identified")
        };
        let wit::Admission::Admitted(admitted) =
            self.policy.call(|policy| policy.admit(&caller.ticket, None, body, AROUND))?
        else {
            bail!("not admitted")
        };
        let headers = [wit::HeaderParam { name: self.content_type, value: content_type }];
        let outcome = wit::Outcome::Answer(wit::Answer { status: 200, headers: &headers, body: answer });
        let attempt = wit::Attempt {
            target: 0,
            number: 1,
            outcome,
            standings: &STANDINGS,
            now_ms: NOW,
            random: 0,
            load: wit::Load { requests: 1, retries: 0 },
        };
        match self.policy.call(|policy| policy.judge(&admitted.ticket, attempt))?.verdict {
            wit::Verdict::Relay(relay) => Ok(relay.ticket),
            _ => bail!("not relayed"),
        }
    }
}

impl Calls for Component {
    fn exchange(&mut self) -> Result<()> {
        let ticket = self.judged(&self.plain, "application/json", Some(&self.answer))?;
        let settlement = self.policy.call(|policy| policy.settle(&ticket, wit::Ending::Completed))?;
        std::hint::black_box(settlement);
        Ok(())
    }

    fn converse(&mut self) -> Result<()> {
        self.judged(&self.conversation, "application/json", Some(&self.answer))?;
        Ok(())
    }

    fn begin_stream(&mut self) -> Result<()> {
        self.stream = self.judged(&self.streamed, "text/event-stream", None)?;
        Ok(())
    }

    fn feed(&mut self, chunk: &[u8]) -> Result<()> {
        let fed: Result<wit::Fed, Broken> =
            self.policy.call(|policy| policy.feed(&self.stream, wit::Piece::Chunk(chunk)));
        let fed = fed?;
        if let Some(ticket) = fed.ticket {
            self.stream = ticket;
        }
        std::hint::black_box(fed.output);
        Ok(())
    }
}
