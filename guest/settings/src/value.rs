//! Values of the shell's tables: references to the environment, durations, sizes.

use std::net::SocketAddr;
use std::time::Duration;

use tollgate_document::{Node, Problem, Problems, Section, duration};

/// The name in `{ env = "NAME" }`. A secret written into the file is refused, and not repeated.
pub(crate) fn variable(node: &Node<'_>, problems: &mut Problems<'_>) -> Option<String> {
    const FORM: &str = "must be a reference to the environment such as `{ env = \"PROVIDER_API_KEY\" }`; \
                        secrets do not belong into this file";
    let Some(table) = node.value().as_table() else {
        node.wrong(problems, FORM);
        return None;
    };
    let section = Section::at(&node.at, table);
    section.only(&["env"], problems);
    let name = section.need("env", "the name of the environment variable", problems)?;
    let text = name.text(problems)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if text.is_empty() || !text.bytes().all(is_name) {
        name.wrong(problems, "must be the name of an environment variable: letters, digits and `_`");
        return None;
    }
    Some(text.to_owned())
}

/// An IP address and a port.
pub(crate) fn address(section: &Section<'_>, name: &str, problems: &mut Problems<'_>) -> Option<SocketAddr> {
    let node = section.get(name)?;
    let read = node.text(problems)?.parse().ok();
    if read.is_none() {
        node.wrong(problems, "must be an IP address and a port such as `127.0.0.1:8081`");
    }
    read
}

pub(crate) fn time(section: &Section<'_>, name: &str, problems: &mut Problems<'_>) -> Option<Duration> {
    let node = section.get(name)?;
    let read = duration(node.text(problems)?).map(Duration::from_millis);
    if read.is_none() {
        node.wrong(
            problems,
            "must be a duration such as `30s` (units `ms`, `s`, `m`, `h`, `d`; at most 366d)",
        );
    }
    read
}

/// Bytes: `65536`, `"64KiB"` or `"16MiB"`.
pub(crate) fn size(
    section: &Section<'_>,
    name: &str,
    least: u64,
    most: u64,
    problems: &mut Problems<'_>,
) -> Option<u64> {
    let node = section.get(name)?;
    if node.value().is_integer() {
        return node.whole(least, most, problems);
    }
    let text = node.text(problems)?;
    let (number, unit) = match text.strip_suffix("KiB") {
        Some(number) => (number, 1 << 10),
        None => (text.strip_suffix("MiB").unwrap_or_default(), 1 << 20),
    };
    let read = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let read = read.filter(|bytes| (least..=most).contains(bytes));
    if read.is_none() {
        node.wrong(
            problems,
            format!("must be a size such as `64KiB` or `16MiB`, from {least} to {most} bytes"),
        );
    }
    read
}

pub(crate) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The value of an environment variable, trimmed, or what is wrong with it.
pub(crate) fn look_up(
    environment: &dyn Fn(&str) -> Option<String>,
    variable: &str,
    at: String,
    what: &str,
) -> Result<String, Problem> {
    let wrong = match environment(variable).map(|value| value.trim().to_owned()) {
        None => "is not set",
        Some(value) if value.is_empty() => "is empty",
        Some(value) => return Ok(value),
    };
    let message = format!("the environment variable {variable} {wrong}; it must hold {what}");
    Err(Problem { at, line: None, message })
}
