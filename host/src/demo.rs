//! `serve --demo`: a gateway that needs no account, no network and no file.

use std::fmt;

/// The configuration of the demo: the simulated provider at `provider`, and one key.
pub fn config(provider: std::net::SocketAddr, digest: &str) -> String {
    format!(
        r#"[upstreams.simulated]
base_url = "http://{provider}/v1"
timeout = "30s"

[[models]]
name = "gpt-4o"
targets = [{{ upstream = "simulated", model = "sim-48t-30ms" }}]
price = {{ currency = "JPY", input = 2.5, output = 10 }}
max_output_tokens = 16384

[[models]]
name = "gpt-4o-mini"
targets = [{{ upstream = "simulated", model = "sim-24t-15ms" }}]
price = {{ currency = "JPY", input = 0.15, output = 0.6 }}
max_output_tokens = 16384

[[models]]
name = "text-embedding-3-small"
targets = [{{ upstream = "simulated", model = "sim-embedding" }}]
price = {{ currency = "JPY", input = 0.02, output = 0 }}
endpoints = ["embeddings"]

[[keys]]
name = "demo"
digest = "{digest}"
requests = "100/1m"
tokens = "1000000/1m"
budget = "1000 JPY/month"
"#
    )
}

/// What a person needs to try the demo: a line for the shell and a snippet of Python.
pub struct Greeting<'a> {
    /// Where the gateway listens.
    pub address: std::net::SocketAddr,
    /// The key that was made for this run.
    pub key: &'a str,
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, key } = self;
        write!(
            f,
            r#"Tollgate listens on http://{address} with a simulated provider behind it.
A key for this run: {key}

Try it with curl:

  curl -N http://{address}/v1/chat/completions -H 'authorization: Bearer {key}' -d '{{"model":"gpt-4o-mini","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'

or with Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="http://{address}/v1", api_key="{key}")
  stream = client.chat.completions.create(
      model="gpt-4o-mini", stream=True, messages=[{{"role": "user", "content": "Hello"}}]
  )
  for chunk in stream:
      print(chunk.choices[0].delta.content or "", end="", flush=True)
  print()
"#
        )
    }
}
