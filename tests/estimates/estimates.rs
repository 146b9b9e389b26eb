//! How far the estimate of input tokens is from what a tokenizer counts, over the texts of `tests/corpus`.
//!
//! The constants of the estimate were fitted with `corpus/fitted` among other texts, and not with `corpus/held-out`.
//! `cargo test -p tollgate-estimates -- --nocapture` prints the table that ARCHITECTURE.md shows.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test harness is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tiktoken_rs::CoreBPE;
use tollgate_policy::Gateway;
use tollgate_policy::message::{Admission, Admitted, Head, Header, Identity, Settings, Surroundings};

/// A text, and what is said of it.
struct Sample {
    /// Where it is: `held-out/german-5.txt`.
    name: String,
    text: String,
    estimate: u64,
    bound: u64,
    o200k: u64,
    cl100k: u64,
}

impl Sample {
    /// What it is: `german`.
    fn kind(&self) -> &str {
        let name = self.name.split_once('/').map_or("", |(_, name)| name);
        name.rsplit_once('-').map_or(name, |(kind, _)| kind)
    }

    /// In thousandths of the truth.
    fn error(&self, truth: u64) -> i64 {
        (self.estimate as i64 - truth as i64) * 1000 / truth as i64
    }
}

#[test]
fn estimates_are_near_what_a_tokenizer_counts() {
    let all = samples();
    assert!(all.len() >= 100, "{} samples", all.len());
    for sample in &all {
        let length = sample.text.chars().count();
        assert!((200..=4000).contains(&length), "{}: {length} characters", sample.name);
        let most = sample.o200k.max(sample.cl100k);
        assert!(sample.bound >= most, "{}: bound {} of {most}", sample.name, sample.bound);
    }
    let part = |folder: &str| all.iter().filter(|sample| sample.name.starts_with(folder)).collect::<Vec<_>>();
    let (fitted, held_out) = (part("fitted/"), part("held-out/"));
    assert!(held_out.len() * 4 >= all.len(), "{} are held out", held_out.len());

    print_table(&all);
    for (name, samples) in [("all", all.iter().collect()), ("fitted", fitted), ("held out", held_out)] {
        let [median, most, worst] = spread(samples.iter().map(|sample| sample.error(sample.o200k)));
        let [other, other_most, _] = spread(samples.iter().map(|sample| sample.error(sample.cl100k)));
        println!(
            "{name:<20} {:>3} {median:>8} {most:>8} {worst:>8} {other:>8} {other_most:>8}",
            samples.len()
        );
        assert!(median <= 50, "{name}: the median error is {median} thousandths");
        assert!(most <= 200, "{name}: the 95th percentile of the error is {most} thousandths");
    }
}

/// Of long bodies only a sample is read: how far off that is, beside the error of an estimate of all of it.
#[test]
fn a_long_body_is_estimated_by_a_sample_of_it() {
    let all = samples();
    let mut parts: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in &all {
        parts.entry(sample.kind()).or_default().push(sample);
        parts.entry("all").or_default().push(sample);
    }
    let asker = Asker::new();
    let mut errors = Vec::new();
    println!("{:<20} of 400 KB in many texts   in one text", "in thousandths");
    for (kind, samples) in &parts {
        let bytes: usize = samples.iter().map(|sample| sample.text.len()).sum();
        let times = 400_000_usize.div_ceil(bytes);
        let texts: Vec<&str> = samples.iter().map(|sample| sample.text.as_str()).collect();
        let (many, one) = (texts.repeat(times), texts.concat().repeat(times));
        let read = samples.iter().map(|sample| sample.estimate).sum::<u64>() * times as u64;
        let error = |estimate: u64| (estimate as i64 - read as i64) * 1000 / read as i64;
        let of = [asker.input(&json!(many)), asker.input(&json!(one))].map(|(estimate, _)| error(estimate));
        println!("{kind:<20} {:>25} {:>13}", of[0], of[1]);
        if *kind == "all" {
            assert!(of.iter().all(|error| error.abs() <= 30), "all texts: {of:?} thousandths");
        }
        errors.extend(of);
    }
    let [median, most, worst] = spread(errors.into_iter());
    println!("median {median}, 95 % {most}, worst {worst}");
    assert!(median <= 20 && most <= 100, "median {median}, 95 % {most}");
}

/// Median, 95th percentile and largest of some errors, without their sign.
fn spread(errors: impl Iterator<Item = i64>) -> [i64; 3] {
    let mut errors: Vec<i64> = errors.map(i64::abs).collect();
    errors.sort_unstable();
    let at = |hundredths: usize| errors[(errors.len() * hundredths).div_ceil(100).saturating_sub(1)];
    [at(50), at(95), at(100)]
}

/// In thousandths: errors are those of o200k_base, then those of cl100k_base.
fn print_table(all: &[Sample]) {
    let mut kinds: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in all {
        kinds.entry(sample.kind()).or_default().push(sample);
    }
    println!("{:<20}   n   median      95 %    worst   cl100k     95 %", "in thousandths");
    for (kind, samples) in kinds {
        let [median, most, worst] = spread(samples.iter().map(|sample| sample.error(sample.o200k)));
        let [other, other_most, _] = spread(samples.iter().map(|sample| sample.error(sample.cl100k)));
        println!(
            "{kind:<20} {:>3} {median:>8} {most:>8} {worst:>8} {other:>8} {other_most:>8}",
            samples.len()
        );
    }
    let mut worst: Vec<&Sample> = all.iter().collect();
    worst.sort_by_key(|sample| -sample.error(sample.o200k).abs());
    for sample in worst.iter().take(10) {
        println!("{:<34} {:>5} for {:>5}", sample.name, sample.estimate, sample.o200k);
    }
}

fn samples() -> Vec<Sample> {
    let (o200k, cl100k) = (tiktoken_rs::o200k_base().unwrap(), tiktoken_rs::cl100k_base().unwrap());
    let count = |tokenizer: &CoreBPE, text: &str| tokenizer.encode_ordinary(text).len() as u64;
    let asker = Asker::new();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let mut samples = Vec::new();
    for part in ["fitted", "held-out"] {
        for entry in fs::read_dir(corpus.join(part)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let (estimate, bound) = asker.input(&json!(text));
            let name = format!("{part}/{}", path.file_name().unwrap().to_string_lossy());
            let (o200k, cl100k) = (count(&o200k, &text), count(&cl100k, &text));
            samples.push(Sample { name, text, estimate, bound, o200k, cl100k });
        }
    }
    samples.sort_by(|one, other| one.name.cmp(&other.name));
    samples
}

/// Asks the policy for an embedding: there is nothing but the text, and a price for nothing else.
struct Asker(Gateway);

/// Bob's key is `bob`. A token is 1,000 nano-units.
const CONFIG: &str = r#"
[[models]]
name = "m"
endpoints = ["embeddings"]
targets = [{ upstream = "main" }]
price = { currency = "USD", input = 1, output = 0 }

[[keys]]
name = "bob"
digest = "sha256:81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9"
"#;

impl Asker {
    fn new() -> Self {
        let settings = Settings { config: CONFIG, upstreams: vec!["main".to_owned()], ..Settings::default() };
        Self(Gateway::load(&settings).unwrap().gateway)
    }

    /// The estimate and the bound of the tokens of an input.
    fn input(&self, text: &Value) -> (u64, u64) {
        let headers = vec![Header { name: "authorization".to_owned(), value: "Bearer bob".to_owned() }];
        let head = Head { method: "POST".to_owned(), path: "/v1/embeddings".to_owned(), headers };
        let Identity::Caller(caller) = self.0.identify(&head) else { panic!("a stranger") };
        let body = json!({ "model": "m", "input": text }).to_string();
        match self.0.admit(&caller.ticket, None, body.as_bytes(), &Surroundings::default()).unwrap() {
            Admission::Admitted(Admitted { usage, .. }) => (usage.input_tokens, usage.charge / 1_000),
            Admission::Reply(reply) => panic!("{}", String::from_utf8_lossy(&reply.body)),
        }
    }
}
