//! From a vector's configuration file to what a policy is loaded with.
//!
//! Reads only what a shell must know before there is a policy: which upstreams exist and how large a body may
//! be. Configurations name their upstreams' hosts `<name>.test`; the host driver puts its own servers there.

use tollgate_policy::message::Settings;
use tollgate_settings::SHELL_TABLES;

/// What a policy is loaded with: a configuration, and the price list that it names.
pub fn settings<'a>(config: &'a str, catalogue: Option<&'a str>) -> Settings<'a> {
    Settings {
        config,
        shell_tables: SHELL_TABLES.iter().map(|&table| table.to_owned()).collect(),
        upstreams: upstreams(config),
        catalogue,
    }
}

/// The names of the upstreams; none where the file is no TOML, which is the policy's to say.
pub fn upstreams(config: &str) -> Vec<String> {
    let Ok(file) = config.parse::<toml::Table>() else { return Vec::new() };
    let table = file.get("upstreams").and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// How long an upstream may be silent, as Envoy writes durations: 60 s unless it says otherwise.
pub fn timeout(config: &str, upstream: &str) -> String {
    let file: toml::Table = config.parse().unwrap();
    let timeout = file.get("upstreams").and_then(|all| all.get(upstream)?.get("timeout")?.as_str());
    let timeout = timeout.map_or(60_000, |text| tollgate_document::duration(text).unwrap());
    format!("{}.{:03}s", timeout / 1_000, timeout % 1_000)
}

/// The largest body a client may send: `server.body_limit`, 16 MiB unless it says otherwise.
pub fn body_limit(config: &str) -> u64 {
    let file: toml::Table = config.parse().unwrap();
    let limit = file.get("server").and_then(|server| server.get("body_limit"));
    match limit.map(|limit| limit.as_str().expect("a body limit is a text")) {
        None => 16 << 20,
        Some(text) => {
            let (count, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
            let unit = match unit {
                "B" => 1,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                _ => panic!("`{text}` is not a size this harness reads"),
            };
            count.parse::<u64>().unwrap() * unit
        }
    }
}
