//! The `models` of a configuration: names that clients ask for, and where each can be sent.

use std::collections::BTreeMap;

use super::context::{self, Context};
use super::parameters::{self, Parameters};
use super::price::{self, Said};
use super::prices::{Asked, Terms};
use super::routes::{self, By, HeaderConditions, Route, When};
use crate::endpoint::Kind;
use crate::estimate::MOST_OUTPUT;
use crate::money::Currency;
use crate::price::Prices;
use tollgate_document::{Node, Problems, Section, listed, nearest, shown};

/// A name that clients ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What the client calls it.
    pub name: String,
    /// Where it can be sent, in order of preference; at least one.
    pub targets: Vec<Target>,
    /// Output tokens of a request that names no maximum.
    pub max_output_tokens: u64,
    /// Output tokens that are held at a time for a stream that names no maximum; at most `max_output_tokens`.
    pub output_slice: u64,
    /// What it can be asked for; at least one.
    pub endpoints: Vec<Kind>,
    /// How its targets are put in order.
    pub route: Route,
    /// What it does not take.
    pub parameters: Parameters,
    /// How long a conversation can be; none: as long as the provider takes it.
    pub context: Option<Context>,
}

/// One place where a model can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// An upstream of the shell.
    pub upstream: String,
    /// What that upstream calls the model.
    pub model: String,
    /// What it charges, over time.
    pub prices: Prices,
    /// Its place among the upstreams that the shell can reach.
    pub upstream_index: usize,
    /// Its part of the requests where chance decides; at least 1.
    pub weight: u32,
    /// Where it is.
    pub region: Option<String>,
    /// What a request must be to go there.
    pub when: When,
}

/// What targets are checked against, and what they ask of headers.
pub struct Upstreams<'u> {
    /// Those the shell can reach.
    pub names: &'u [String],
    /// Every header condition so far.
    pub headers: &'u mut HeaderConditions,
}

impl Model {
    /// A target by its index.
    pub fn target(&self, index: u32) -> Option<&Target> {
        self.targets.get(usize::try_from(index).ok()?)
    }
}

/// Every name in the file, with the index of its model. A model with a problem has none: a key that names it is
/// not a second problem.
pub type Declared<'d> = BTreeMap<&'d str, Option<u32>>;

const FIELDS: [&str; 12] = [
    "charge_in",
    "name",
    "targets",
    "price",
    "max_output_tokens",
    "output_slice",
    "endpoints",
    "route",
    "regions",
    "parameters",
    "context_window",
    "context_overflow",
];

/// So many targets a model can have: a ticket has a bit for each.
const MOST_TARGETS: usize = 64;
/// The largest weight of a target.
const MOST_WEIGHT: u64 = 1_000_000;

/// Output tokens assumed where the configuration does not say.
const MAX_OUTPUT_TOKENS: u64 = 4096;
const OUTPUT_SLICE: u64 = 1024;
/// With smaller slices, a stream would do little else than ask the ledger.
const LEAST_SLICE: u64 = 16;

const LONGEST_NAME: usize = 256;

/// Reads every model and leaves out, with its problems, what is unsound.
pub fn read<'d>(
    root: &Section<'d>,
    mut upstreams: Upstreams<'_>,
    terms: &Terms<'_>,
    problems: &mut Problems<'_>,
    notes: &mut Problems<'_>,
) -> (Vec<Model>, Declared<'d>) {
    const NONE: &str = "there is no model: add a `[[models]]` table";
    let mut models = Vec::new();
    let mut declared = Declared::new();
    let mut contexts = Vec::new();
    let Some(list) = root.get("models") else {
        problems.add("models", None, NONE);
        return (models, declared);
    };
    let nodes = list.list(problems);
    if nodes.as_ref().is_some_and(Vec::is_empty) {
        list.wrong(problems, NONE);
    }
    for node in nodes.unwrap_or_default() {
        let Some(section) = node.section(problems) else { continue };
        section.only(&FIELDS, problems);
        let name = name(&section, &declared, problems);
        let model = model(&section, name, &mut upstreams, terms, problems, notes);
        let context = context::read(&section, problems);
        contexts.extend(model.as_ref().and(context).map(|context| (models.len(), context)));
        if let Some(name) = name {
            declared.insert(name, model.as_ref().and(u32::try_from(models.len()).ok()));
        }
        models.extend(model);
    }
    context::resolve(contexts, &declared, &mut models, problems);
    (models, declared)
}

fn name<'d>(section: &Section<'d>, declared: &Declared<'d>, problems: &mut Problems<'_>) -> Option<&'d str> {
    let node = section.need("name", "what clients call the model", problems)?;
    let name = model_name(&node, problems)?;
    if declared.contains_key(name) {
        node.wrong(problems, format!("there is another model named `{}`", shown(name)));
        return None;
    }
    Some(name)
}

fn model_name<'d>(node: &Node<'d>, problems: &mut Problems<'_>) -> Option<&'d str> {
    let name = node.text(problems)?;
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        node.wrong(
            problems,
            format!("a model's name has 1 to {LONGEST_NAME} bytes and no control characters"),
        );
        return None;
    }
    Some(name)
}

fn model(
    section: &Section<'_>,
    name: Option<&str>,
    upstreams: &mut Upstreams<'_>,
    terms: &Terms<'_>,
    problems: &mut Problems<'_>,
    notes: &mut Problems<'_>,
) -> Option<Model> {
    let shared = Shared::read(section, problems);
    let max_output_tokens = match section.get("max_output_tokens") {
        Some(node) => node.whole(1, MOST_OUTPUT, problems),
        None => Some(MAX_OUTPUT_TOKENS),
    };
    let output_slice = output_slice(section, max_output_tokens, problems);
    let endpoints = endpoints(section, problems);
    let route = routes::route(section, problems);
    let parameters = parameters::read(section, problems);

    let list = section.need("targets", "say where requests go", problems)?;
    let nodes = list.list(problems)?;
    if nodes.is_empty() {
        list.wrong(problems, "a model needs at least one target");
        return None;
    }
    if nodes.len() > MOST_TARGETS {
        list.wrong(problems, format!("a model has at most {MOST_TARGETS} targets"));
        return None;
    }
    let mut targets: Vec<Target> = Vec::new();
    let mut sound = true;
    for node in nodes {
        let Some(draft) = draft(&node, name, upstreams, problems) else {
            sound = false;
            continue;
        };
        let is_same = |known: &Target| {
            (&known.upstream, &known.model, &known.when) == (&draft.upstream, &draft.model, &draft.when)
        };
        if targets.iter().any(is_same) {
            node.wrong(problems, "is the same target as one before");
        }
        match shared.prices(&node, &draft, terms, problems, notes) {
            Some(prices) => targets.push(draft.priced(prices)),
            None => sound = false,
        }
    }
    if route.by == By::Price && has_two_currencies(&targets) {
        list.wrong(problems, "are priced in two currencies, and `route = \"price\"` cannot compare them");
    }
    let model = Model {
        name: name?.to_owned(),
        targets,
        max_output_tokens: max_output_tokens?,
        output_slice: output_slice?,
        endpoints: endpoints?,
        route,
        parameters,
        context: None,
    };
    sound.then_some(model)
}

fn output_slice(
    section: &Section<'_>,
    max_output_tokens: Option<u64>,
    problems: &mut Problems<'_>,
) -> Option<u64> {
    let Some(node) = section.get("output_slice") else {
        return max_output_tokens.map(|most| most.min(OUTPUT_SLICE));
    };
    let slice = node.whole(LEAST_SLICE, MOST_OUTPUT, problems)?;
    if max_output_tokens.is_some_and(|most| slice > most) {
        node.wrong(problems, "must not be more than `max_output_tokens`, which is what is held in all");
        return None;
    }
    Some(slice)
}

fn has_two_currencies(targets: &[Target]) -> bool {
    let mut currencies =
        targets.iter().filter(|target| !target.prices.is_free()).map(|t| t.prices.currency());
    let first = currencies.next();
    currencies.any(|other| Some(other) != first)
}

/// What a model says of the prices of all its targets.
struct Shared<'d> {
    price: Option<(Node<'d>, Option<Said<'d>>)>,
    charge_in: Option<Option<Currency>>,
}

impl<'d> Shared<'d> {
    fn read(section: &Section<'d>, problems: &mut Problems<'_>) -> Self {
        let price = section.get("price").map(|node| {
            let said = price::read(&node, problems);
            (node, said)
        });
        let charge_in = section.get("charge_in").map(|node| price::currency(&node, problems));
        Self { price, charge_in }
    }

    /// What a target costs: by its own price, or else by the model's.
    fn prices(
        &self,
        target: &Node<'_>,
        draft: &Draft<'_>,
        terms: &Terms<'_>,
        problems: &mut Problems<'_>,
        notes: &mut Problems<'_>,
    ) -> Option<Prices> {
        let (node, said) = match (&draft.price, &self.price) {
            (Some((node, said)), _) => (node, Some(said)),
            // One that is there and wrong is a problem already.
            (None, Some((node, said))) => (node, Some(said.as_ref()?)),
            (None, None) => (target, None),
        };
        let charge_in = match self.charge_in {
            Some(charge_in) => Some(charge_in?),
            None => None,
        };
        let (upstream, model, batch) = (&draft.upstream, &draft.model, draft.batch);
        terms.resolve(&Asked { node, said, upstream, model, charge_in, batch }, problems, notes)
    }
}

/// A target whose price is not known yet.
struct Draft<'d> {
    upstream: String,
    model: String,
    price: Option<(Node<'d>, Said<'d>)>,
    batch: bool,
    upstream_index: usize,
    weight: u32,
    region: Option<String>,
    when: When,
}

impl Draft<'_> {
    fn priced(self, prices: Prices) -> Target {
        let Self { upstream, model, upstream_index, weight, region, when, .. } = self;
        Target { upstream, model, prices, upstream_index, weight, region, when }
    }
}

fn draft<'d>(
    node: &Node<'d>,
    name: Option<&str>,
    upstreams: &mut Upstreams<'_>,
    problems: &mut Problems<'_>,
) -> Option<Draft<'d>> {
    let section = node.section(problems)?;
    section.only(&["upstream", "model", "price", "batch", "weight", "region", "when"], problems);
    let when = routes::when(&section, upstreams.headers, problems);
    let region = section.get("region").and_then(|node| routes::region(&node, problems));
    let weight = section.get("weight").and_then(|node| node.whole(1, MOST_WEIGHT, problems));
    let weight = weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1);
    let price = section.get("price").map(|node| {
        let said = price::read(&node, problems);
        said.map(|said| (node, said))
    });
    let batch = match section.get("batch") {
        Some(node) => node.truth(problems),
        None => Some(false),
    };
    let model = match section.get("model") {
        Some(node) => model_name(&node, problems),
        None => name,
    };
    let upstream = section.need("upstream", "the name of an upstream", problems)?;
    let upstream = upstream_name(&upstream, upstreams.names, problems);
    // A price that is there and wrong is a problem already, never the model's price instead.
    let price = match price {
        Some(price) => Some(price?),
        None => None,
    };
    let upstream = upstream?;
    let upstream_index = upstreams.names.iter().position(|known| *known == upstream)?;
    let (model, batch) = (model?.to_owned(), batch?);
    Some(Draft { upstream, model, price, batch, upstream_index, weight, region, when })
}

fn upstream_name(node: &Node<'_>, upstreams: &[String], problems: &mut Problems<'_>) -> Option<String> {
    let name = node.text(problems)?;
    let known: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    if !known.contains(&name) {
        let message = match nearest(name, &known) {
            Some(near) => format!("there is no upstream `{}`; did you mean `{near}`?", shown(name)),
            None => format!("there is no upstream `{}`; there are {}", shown(name), listed(&known)),
        };
        node.wrong(problems, message);
        return None;
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        node.wrong(problems, "the name of an upstream must be visible ASCII: clients see it in a header");
        return None;
    }
    Some(name.to_owned())
}

fn endpoints(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Vec<Kind>> {
    let Some(list) = section.get("endpoints") else { return Some(vec![Kind::Chat]) };
    let nodes = list.list(problems)?;
    if nodes.is_empty() {
        list.wrong(problems, "a model needs at least one endpoint: `chat` or `embeddings`");
        return None;
    }
    let mut endpoints = Vec::new();
    let mut sound = true;
    for node in nodes {
        let Some(text) = node.text(problems) else {
            sound = false;
            continue;
        };
        match Kind::parse(text) {
            Some(kind) if endpoints.contains(&kind) => node.wrong(problems, "is listed twice"),
            Some(kind) => endpoints.push(kind),
            None => {
                node.wrong(problems, "must be `chat` or `embeddings`");
                sound = false;
            }
        }
    }
    sound.then_some(endpoints)
}
