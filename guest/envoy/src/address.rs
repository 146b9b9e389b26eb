//! The head of a request that goes to an upstream.

use proxy_wasm::types::MapType;

use crate::exchange::Exchange;
use crate::head::{self, Fields, PROTO, REQUEST_ID};

/// Names the target's upstream, for the routes to its cluster.
const UPSTREAM: &str = "x-tollgate-upstream";

const AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));

/// Makes the head of a request, whose fields came like this, the chosen target's own, with a body of this length and with
/// what else Envoy is told. None: there is no such target.
pub fn address(
    exchange: &Exchange,
    fields: &Fields,
    length: Option<&str>,
    told: &[(&str, &str)],
) -> Option<()> {
    let target = exchange.chosen()?;
    let base = &exchange.gate.settings.upstreams.get(&target.upstream)?.base_url;
    let path = base.join(&target.path)?;
    let forwarded = fields.readable(exchange.gate.policy.forward_headers);
    let mut headers = vec![
        (":method", "POST"),
        (":scheme", fields.text(":scheme").unwrap_or("http")),
        (PROTO, fields.text(PROTO).unwrap_or("http")),
        (":authority", base.authority().as_str()),
        (":path", path.as_str()),
        ("content-type", "application/json"),
        ("user-agent", AGENT),
        (REQUEST_ID, exchange.id.as_str()),
        (UPSTREAM, target.upstream.as_str()),
        // How long an upstream may be silent is watched by its route; a stream may be long.
        ("x-envoy-upstream-rq-timeout-ms", "0"),
    ];
    headers.extend(length.map(|length| ("content-length", length)));
    headers.extend(forwarded.iter().map(|header| (header.name.as_str(), header.value.as_str())));
    headers.extend_from_slice(told);
    head::replace(MapType::HttpRequestHeaders, &headers);
    Some(())
}
