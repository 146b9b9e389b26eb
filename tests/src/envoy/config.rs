//! What Envoy is told: a bootstrap with an empty stage, and for each vector two listeners and its clusters.
//!
//! The same filters, routes and retries as `examples/envoy/envoy.yaml`; ports, names and addresses are the test's.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// The most bytes that Envoy keeps back for anybody: more than the largest body of a vector.
const BUFFER: u64 = 32 << 20;

/// The VM that all places of the plugin share, and whose shared data is the ledger.
pub const VM: &str = "tollgate";

/// Envoy's variable with the credential of shells, as the plugin gets it.
pub const TOKEN_VARIABLE: &str = "LEDGER_TOKEN";

/// The host of a server's address in `[ledger]`, and so the name of its cluster.
pub const LEDGER: &str = "ledger.test";

/// One configuration of the plugin, and what it needs of Envoy.
#[derive(Clone, Copy, Default)]
pub struct Stage<'s> {
    /// Tells it from all others of the same Envoy.
    pub name: &'s str,
    /// The plugin's configuration file.
    pub config: &'s str,
    /// The price list that it names.
    pub prices: Option<&'s str>,
    /// Names, addresses and how long each may be silent.
    pub upstreams: &'s [(String, SocketAddr, String)],
    /// Where the server is that keeps the books, if one does.
    pub ledger: Option<SocketAddr>,
}

/// What Envoy starts with: an admin interface, a desk, and two files that are watched.
pub fn bootstrap(folder: &Path, desk: &Path) -> Value {
    let watched = |file: &str| json!({"path_config_source": {"path": folder.join(file)}});
    let desk = wasm("desk", "desk", desk, None);
    json!({
        "admin": {"address": any_port()},
        "node": {"id": "test", "cluster": "test"},
        "bootstrap_extensions": [{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"},
        }],
        "static_resources": {"listeners": [listener("desk", json!({"address": any_port()}), json!([]), &[desk])]},
        "dynamic_resources": {"lds_config": watched("lds.json"), "cds_config": watched("cds.json")},
    })
}

/// The listeners of a stage: the door, and the one that tries pass through.
pub fn listeners(stage: &Stage<'_>, plugin: &Path) -> Vec<Value> {
    let Stage { name, .. } = stage;
    let text = match stage.prices {
        None => stage.config.to_owned(),
        Some(prices) => json!({"config": stage.config, "prices": prices}).to_string(),
    };
    let configuration = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
    let inside = format!("tries_{name}");
    let retries = json!({
        "refresh_cluster_on_retry": true,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
        // Nobody waits in a test: Envoy passes over waits that are longer than this.
        "rate_limited_retry_back_off": {
            "reset_headers": [{"name": "x-tollgate-after", "format": "SECONDS"}],
            "max_interval": "0.001s",
        },
    });
    let straight = |(upstream, _, timeout): &(String, SocketAddr, String)| {
        let mut retries = retries.clone();
        retries["per_try_idle_timeout"] = json!(timeout);
        let to = |cluster: &str| {
            json!({"action": {"name": "cluster", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.router.cluster_specifiers.matcher.v3.ClusterAction",
                "cluster": cluster,
            }}})
        };
        let chosen = json!({
            "matcher_tree": {
                "input": {"name": "upstream", "typed_config": {
                    "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                    "header_name": "x-tollgate-upstream",
                }},
                "exact_match_map": {"map": {upstream: to(&format!("{upstream}_{name}"))}},
            },
            "on_no_match": to(&inside),
        });
        let specifier = json!({"extension": {
            "name": "envoy.router.cluster_specifier_plugin.matcher",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.router.cluster_specifiers.matcher.v3.MatcherClusterSpecifier",
                "cluster_matcher": chosen,
            },
        }});
        json!({
            "match": addressed(upstream),
            "route": {"inline_cluster_specifier_plugin": specifier, "timeout": "0s", "retry_policy": retries},
        })
    };
    let on = json!({
        "match": {"prefix": "/"},
        "route": {"cluster": inside, "timeout": "0s", "retry_policy": retries},
    });
    let from_the_door = stage.upstreams.iter().map(straight).chain([on]).collect();
    let to_upstream = |(upstream, _, timeout): &(String, SocketAddr, String)| {
        json!({
            "match": addressed(upstream),
            "route": {
                "cluster": format!("{upstream}_{name}"),
                "timeout": "0s",
                "retry_policy": {"per_try_idle_timeout": timeout},
            },
        })
    };
    let to_upstreams = stage.upstreams.iter().map(to_upstream).collect();
    // Its root id names it in the log, from the first line on.
    let door = wasm(name, name, plugin, Some(configuration));
    let tries = wasm(name, "tries", plugin, None);
    vec![
        listener(&format!("door_{name}"), json!({"address": any_port()}), from_the_door, &[door]),
        listener(&format!("tries_{name}"), json!({"internal_listener": {}}), to_upstreams, &[tries]),
    ]
}

/// The clusters of a stage: its upstreams, and the listener that tries pass through.
pub fn clusters(stage: &Stage<'_>, plugin: &Path) -> Vec<Value> {
    let plugin = |place| wasm(stage.name, place, plugin, None);
    let inside = format!("tries_{}", stage.name);
    let address = json!({"envoy_internal_address": {"server_listener_name": inside}});
    let credential_off = json!({
        "name": "credential",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": [{"remove": "authorization"}]},
        },
    });
    let mut clusters = vec![filtered(cluster(&inside, &address), &[credential_off, plugin("inside")])];
    for (upstream, address, _) in stage.upstreams {
        let cluster = cluster(&format!("{upstream}_{}", stage.name), &socket(*address));
        clusters.push(filtered(cluster, &[plugin("upstream"), credential_on(upstream)]));
    }
    clusters.extend(stage.ledger.map(|address| cluster(LEDGER, &socket(address))));
    clusters
}

/// What adds an upstream's credential behind the plugin.
fn credential_on(upstream: &str) -> Value {
    json!({
        "name": "credential",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": [{"append": {
                "header": {"key": "authorization", "value": format!("Bearer {upstream}'s")},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }}]},
        },
    })
}

/// A cluster with these filters before its codec.
fn filtered(mut cluster: Value, filters: &[Value]) -> Value {
    let codec = json!({
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
        },
    });
    let filters: Vec<&Value> = filters.iter().chain([&codec]).collect();
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": filters,
        },
    });
    cluster
}

/// What a request matches that the plugin has addressed to an upstream.
fn addressed(upstream: &str) -> Value {
    json!({
        "prefix": "/",
        "headers": [{"name": "x-tollgate-upstream", "string_match": {"exact": upstream}}],
    })
}

/// A file of resources as Envoy reads it.
pub fn resources(version: usize, kind: &str, mut resources: Vec<Value>) -> Value {
    for resource in &mut resources {
        resource["@type"] = json!(format!("type.googleapis.com/{kind}"));
    }
    json!({"version_info": version.to_string(), "resources": resources})
}

fn any_port() -> Value {
    socket(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}

fn cluster(name: &str, address: &Value) -> Value {
    const MANY: u32 = 100_000;
    let many = json!({"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY, "max_retries": MANY});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": BUFFER,
        "circuit_breakers": {"thresholds": [many]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}

fn listener(name: &str, place: Value, routes: Value, filters: &[Value]) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true,
        },
    });
    let filters: Vec<&Value> = filters.iter().chain([&router]).collect();
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "server_header_transformation": "PASS_THROUGH",
            "stream_idle_timeout": "0s",
            "generate_request_id": false,
            "route_config": {
                "validate_clusters": false,
                "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "include_is_timeout_retry_header": true,
                    "request_headers_to_remove": ["x-tollgate-upstream"],
                    "routes": routes,
                }],
            },
            "http_filters": filters,
        },
    });
    let mut listener = json!({
        "name": name,
        "per_connection_buffer_limit_bytes": BUFFER,
        "filter_chains": [{"filters": [manager]}],
    });
    for (field, value) in place.as_object().unwrap() {
        listener[field] = value.clone();
    }
    listener
}

fn wasm(name: &str, place: &str, module: &Path, configuration: Option<Value>) -> Value {
    let mut config = json!({
        "name": name,
        "root_id": place,
        "failure_policy": "FAIL_CLOSED",
        "allow_on_headers_stop_iteration": true,
        "vm_config": {
            "vm_id": VM,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module}},
            "environment_variables": {"host_env_keys": [TOKEN_VARIABLE]},
        },
    });
    if let Some(configuration) = configuration {
        config["configuration"] = configuration;
    }
    json!({
        "name": "tollgate",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": config,
        },
    })
}
