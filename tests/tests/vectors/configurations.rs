//! What holds for configurations that nobody wrote: the vectors' own, changed by chance.
//!
//! Total: whatever `check` accepts never traps. Monotone: raising a limit never refuses more. The seed is fixed; a
//! failure shows the configuration.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tollgate_policy::message::{
    Admission, Answer, Attempt, Ending, Failure, Fault, Head, Header, Identity, Limited, Load as Lately,
    Outcome as Tried, Piece, Standing, Surroundings, Verdict,
};
use tollgate_tests::component::Components;
use tollgate_tests::dice::Dice;
use tollgate_tests::driver::{Driver as _, Walked};
use tollgate_tests::policy::{Load as _, Native, Policy};
use tollgate_tests::setup;
use tollgate_tests::vector::{self, Config, Vector, headers};

/// Changed configurations for each vector.
const CHANGES: usize = 8;

#[test]
fn whatever_is_accepted_never_traps() {
    let vectors = vector::all();
    let lines: Vec<String> = vectors.iter().flat_map(|v| lines(&v.config.text())).collect();
    let (mut dice, mut accepted) = (Dice::new(1), 0);
    for vector in &vectors {
        for _ in 0..CHANGES {
            let config = changed(&vector.config.text(), &lines, &mut dice);
            let catalogue = vector.catalogue.as_ref().map(serde_json::Value::to_string);
            let walked = catch_unwind(AssertUnwindSafe(|| {
                match Native.load(&setup::settings(&config, catalogue.as_deref())) {
                    Ok(loaded) => {
                        let mut policy = loaded.policy;
                        everything(&mut *policy, vector, &mut Dice::new(7));
                        true
                    }
                    Err(problems) => {
                        assert!(!problems.is_empty(), "refused without a problem");
                        false
                    }
                }
            }));
            match walked {
                Ok(is_accepted) => accepted += usize::from(is_accepted),
                Err(_) => panic!("{} with this configuration:\n{config}", vector.name),
            }
        }
    }
    // Nothing would be proven by configurations that are all refused.
    assert!(accepted > vectors.len(), "only {accepted} were accepted");
}

/// The component has a stack of 256 KiB, and a fault of it would be a trap instead of a problem.
#[test]
fn however_deep_a_configuration_is_the_component_says_what_is_wrong_with_it() {
    let component = Components::embedded();
    for depth in [10, 70, 79, 80, 81, 100, 1_000, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let tables = (format!("{}{{}}", "{a=".repeat(depth)), "}".repeat(depth));
        for text in [
            format!("x = {open}{close}"),
            format!("x = {open}"),
            format!("x = {}{}", tables.0, tables.1),
            format!("{}a = 1", "a.".repeat(depth)),
            format!("[{}a]", "a.".repeat(depth)),
            format!("[[{}a]]", "a.".repeat(depth)),
        ] {
            let problems = component.load(&setup::settings(&text, None)).err().unwrap();
            assert!(!problems.is_empty(), "{depth}: {}", &text[..20]);
            assert_eq!(Some(problems), Native.load(&setup::settings(&text, None)).err(), "{depth}");
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// A configuration with one to three lines changed: one gone, one more from anywhere, another number, another text.
fn changed(text: &str, others: &[String], dice: &mut Dice) -> String {
    const NUMBERS: [&str; 9] =
        ["0", "1", "2", "17", "4096", "9007199254740991", "-1", "0.000001", "99999999999999999999"];
    let mut lines = lines(text);
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(lines.len());
        match dice.roll(4) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, dice.pick(others).clone()),
            2 => {
                let line = lines[at].clone();
                let digits = |c: char| c.is_ascii_digit();
                if let Some(start) = line.find(digits) {
                    let end = line[start..].find(|c| !digits(c)).map_or(line.len(), |length| start + length);
                    lines[at].replace_range(start..end, NUMBERS[dice.roll(NUMBERS.len())]);
                }
            }
            _ => {
                // What stands behind the equals sign of another line.
                if let (Some((name, _)), Some((_, value))) =
                    (lines[at].split_once(" = "), dice.pick(others).split_once(" = "))
                {
                    lines[at] = format!("{name} = {value}");
                }
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\n") + "\n"
}

/// Every call that an exchange of this vector could lead to.
fn everything(policy: &mut dyn Policy, vector: &Vector, dice: &mut Dice) {
    let now_ms = vector.now.ms;
    let Some(request) = &vector.request else { return };
    let head = Head {
        method: request.method.clone(),
        path: request.path.clone(),
        headers: headers(&request.headers),
    };
    let Identity::Caller(caller) = policy.identify(&head).unwrap() else { return };
    let stored = vector.stored.first().map(|stored| stored.principal());
    let around = Surroundings { now_ms, random: dice.roll(usize::MAX) as u64, latencies: Vec::new() };
    let admission = policy.admit(&caller.ticket, stored.as_ref(), request.body.bytes(), &around).unwrap();
    let Admission::Admitted(admitted) = admission else { return };
    assert!(!admitted.targets.is_empty());
    let standing = Standing { remaining: 3, reset_ms: 1_000 };
    let standings = vec![standing; admitted.claims.len()];
    let limited =
        Limited { claim: 0, retry_after_ms: Some(dice.roll(100_000) as u64), standings: standings.clone() };
    if !admitted.claims.is_empty() {
        policy.refuse(Some(&admitted.ticket), &Failure::Limited(limited)).unwrap();
    }
    let mut outcomes = vec![Tried::Tripped(5), Tried::Fault(Fault::Connect), Tried::Fault(Fault::Timeout)];
    outcomes.extend(vector.provider.values().flatten().map(|answer| {
        let content_type = Header { name: "content-type".into(), value: "application/json".into() };
        let body = Some(answer.pieces().concat());
        let headers = if answer.is_event_stream() { headers(&answer.headers) } else { vec![content_type] };
        Tried::Answer(Answer {
            status: answer.status,
            headers,
            body: body.filter(|_| !answer.is_event_stream()),
        })
    }));
    let stream: Vec<Vec<u8>> =
        vector.provider.values().flatten().flat_map(|answer| answer.pieces()).collect();
    for outcome in outcomes {
        let (mut ticket, mut target) = (admitted.ticket.clone(), 0);
        for number in 1..=4 {
            let attempt = Attempt {
                target,
                number,
                outcome: outcome.clone(),
                standings: standings.clone(),
                now_ms,
                random: dice.roll(usize::MAX) as u64,
                load: Lately { requests: 100, retries: dice.roll(40) as u32 },
            };
            match policy.judge(&ticket, &attempt).unwrap().verdict {
                Verdict::Retry { ticket: next, target: other, .. } => {
                    assert!((other as usize) < admitted.targets.len());
                    (ticket, target) = (next, other);
                }
                Verdict::Reply { ticket: next, .. } => {
                    ticket = next;
                    break;
                }
                Verdict::Relay { ticket: next, inspect, .. } => {
                    ticket = next;
                    if inspect {
                        ticket = fed(policy, ticket, &stream);
                    }
                    break;
                }
            }
        }
        for ending in [Ending::Completed, Ending::ClientLeft, Ending::UpstreamBroke, Ending::PolicyFailed] {
            let settlement = policy.settle(&ticket, ending).unwrap();
            assert_eq!(settlement.amounts.len(), admitted.claims.len());
        }
    }
    policy.settle(&admitted.ticket, Ending::Undispatched).unwrap();
}

fn fed(policy: &mut dyn Policy, mut ticket: Vec<u8>, stream: &[Vec<u8>]) -> Vec<u8> {
    let pieces = stream.iter().map(|bytes| Piece::Chunk(bytes));
    for piece in pieces.chain([Piece::Limited, Piece::End]) {
        ticket = policy.feed(&ticket, piece).unwrap().ticket.unwrap_or(ticket);
    }
    ticket
}

#[test]
fn raising_a_limit_never_refuses_more() {
    let (native, mut dice, mut compared) = (Walked::native(), Dice::new(2), 0);
    for vector in vector::all() {
        let Ok(before) = catch_unwind(AssertUnwindSafe(|| native.run(&vector))) else { continue };
        // Whoever was refused may be refused still.
        let Some(client) = before.client.filter(|_| before.usage.is_some()) else { continue };
        for _ in 0..4 {
            let config = raised(&vector.config.text(), &mut dice);
            let higher = Vector { config: Config::Lines(lines(&config)), ..vector.clone() };
            let after = catch_unwind(AssertUnwindSafe(|| native.run(&higher)))
                .unwrap_or_else(|_| panic!("{} with this configuration:\n{config}", vector.name));
            assert!(after.problems.is_empty(), "{}: {:?}\n{config}", vector.name, after.problems);
            let status = after.client.map(|client| client.status);
            let same = (Some(client.status), &before.upstream, true);
            assert_eq!((status, &after.upstream, after.usage.is_some()), same, "{}\n{config}", vector.name);
            compared += usize::from(config != vector.config.text());
        }
    }
    assert!(compared > 500, "only {compared} had a limit to be raised");
}

/// The configuration with some of its limits raised, each by a factor of its own.
fn raised(text: &str, dice: &mut Dice) -> String {
    let limits = ["requests = ", "tokens = ", "budget = ", "budgets = ", "concurrent = "];
    let raise = |line: &str| {
        let is_limit = limits.iter().any(|name| line.starts_with(name));
        if is_limit && dice.roll(3) > 0 { raised_text(line, 1 + dice.roll(50)) } else { line.to_owned() }
    };
    text.lines().map(raise).collect::<Vec<_>>().join("\n") + "\n"
}

/// A text with the first number of each limit in it multiplied: `"100/1m"`, `["1 JPY/day", "10 JPY/month"]`, `8`.
fn raised_text(text: &str, factor: usize) -> String {
    let (mut raised, mut rest, mut fresh) = (String::new(), text, true);
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(length.max(first.len_utf8()));
        match number.parse::<u128>() {
            // A fraction is multiplied by moving nothing but its whole part up: that raises it too.
            Ok(number) if fresh => raised += &(number.max(1) * factor as u128).to_string(),
            _ => raised += number,
        }
        fresh = !first.is_ascii_digit() && matches!(first, '"' | ' ') && !number.ends_with('/');
        rest = after;
    }
    raised
}
