use super::*;

const DIGEST: &str = "sha256:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";

fn read(config: &str) -> Result<Config, Vec<Problem>> {
    let shell_tables = vec!["server".into(), "upstreams".into()];
    let upstreams = vec!["main".into(), "spare".into()];
    Config::read(&Settings { config, shell_tables, upstreams, catalogue: None })
}

/// The problems as `path:line message`.
fn problems(config: &str) -> Vec<String> {
    let problems = read(config).expect_err("problems");
    let line = |line: Option<u32>| line.map_or("?".to_owned(), |line| line.to_string());
    problems.iter().map(|found| format!("{}:{} {}", found.at, line(found.line), found.message)).collect()
}

/// The only problem of a configuration with this model and this key; none of its messages may have `secret`.
fn problem(model: &str, key: &str) -> String {
    let config = format!("[[models]]\n{model}\n[[keys]]\n{key}\n");
    let mut problems = problems(&config);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(!problems[0].contains("secret"), "{problems:#?}");
    problems.remove(0)
}

const MODEL: &str = r#"name = "m"
targets = [{ upstream = "main" }]
price = { currency = "JPY", input = 2.5, output = 10 }"#;

fn of_model(model: &str) -> String {
    problem(model, &format!("name = \"k\"\ndigest = \"{DIGEST}\""))
}

fn of_key(key: &str) -> String {
    problem(MODEL, key)
}

fn of_key_with(field: &str) -> String {
    of_key(&format!("name = \"k\"\ndigest = \"{DIGEST}\"\n{field}"))
}

#[test]
fn a_whole_configuration_is_read() {
    let config = read(crate::tests::CONFIG).expect("a sound configuration");
    let (index, model) = config.model_named("gpt-4o").expect("a model");
    assert_eq!((index, model.targets.len(), model.max_output_tokens), (0, 2, 1_000));
    let price = model.targets[1].prices.at(0).rates;
    assert_eq!((price.input, price.cached_input, price.output), (2_500_000, 1_250_000, 10_000_000));
    let (index, local) = config.model_named("local").expect("a model");
    assert!(local.targets[0].prices.is_free() && local.targets[0].model == "local");
    assert_eq!(local.max_output_tokens, 4096);
    let bob = config.key(1).expect("a key");
    assert!(bob.allowed.contains(index) && !bob.allowed.contains(0) && bob.caller.limits.is_empty());
    let alice = config.key(0).expect("a key");
    assert!(alice.allowed.contains(0) && alice.caller.limits.len() == 3);
    assert_eq!(config.key_with(&alice.digest), Some(0));
    assert_eq!(config.key_with(&[0; 32]), None);
}

#[test]
fn an_empty_file_lacks_models_and_keys() {
    let found = problems("");
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("keys:? there is no key"), "{found:?}");
    assert!(found[1].starts_with("models:? there is no model"), "{found:?}");
    let found = problems("models = []\nkeys = []");
    assert!(found[0].starts_with("models:1 ") && found[1].starts_with("keys:2 "), "{found:?}");
    let found = problems("models = 1\nkeys = 'x'");
    assert_eq!(found[0], "models:1 must be an array, and is of type integer");
    assert_eq!(found[1], "keys:2 must be an array, and is of type string");
    assert_eq!(problems("models = [1]\nkeys = [[]]").len(), 2);
}

#[test]
fn what_is_not_toml_is_told_by_line() {
    let found = problems("[[models]]\nname = \nsecret\n");
    assert!(!found.is_empty() && found.iter().all(|found| found.contains("not TOML")), "{found:?}");
    assert!(found[0].starts_with(":2 "), "{found:?}");
    assert!(problems("a = 1\na = 2")[0].starts_with(":2 not TOML: duplicate key"));
    assert!(!problems(&"[".repeat(100_000)).is_empty());
    assert!(!problems(&format!("a = {}", "[".repeat(100_000))).is_empty());
    assert!(!problems(&format!("a = {}", "{b=".repeat(100_000))).is_empty());
}

#[test]
fn all_problems_are_reported_at_once() {
    let config = r#"
[sever]
[[models]]
nam = "m"
targets = [{ upstream = "man", prise = 1 }, 5]
max_output_tokens = 0
endpoints = ["chats"]
[[keys]]
name = "a b"
digest = "secret"
requests = "0/1m"
tokens = "5"
budget = "5 yen/month"
models = ["x"]
"#;
    let found = problems(config);
    let places: Vec<_> = found.iter().map(|found| found.split(' ').next().unwrap_or_default()).collect();
    let expected = [
        "sever:2",
        "models[0].name:3",
        "models[0].nam:4",
        "models[0].targets[0].prise:5",
        "models[0].targets[0].upstream:5",
        "models[0].targets[1]:5",
        "models[0].max_output_tokens:6",
        "models[0].endpoints[0]:7",
        "keys[0].name:9",
        "keys[0].digest:10",
        "keys[0].requests:11",
        "keys[0].tokens:12",
        "keys[0].budget:13",
        "keys[0].models[0]:14",
    ];
    assert_eq!(places, expected, "{found:#?}");
    assert!(found[0].ends_with("did you mean `server`?") && found[4].ends_with("did you mean `main`?"));
    assert!(found.iter().all(|found| !found.contains("secret")));
}

#[test]
fn models_are_sound() {
    let targets = "targets = [{ upstream = \"main\" }]";
    let free = "price = \"free\"";
    for (model, expected) in [
        (format!("name = \"m\"\n{free}"), "models[0].targets:1 `targets` is missing"),
        (
            format!("name = \"m\"\n{free}\ntargets = []"),
            "models[0].targets:4 a model needs at least one target",
        ),
        (format!("name = \"\"\n{free}\n{targets}"), "models[0].name:2 a model's name has"),
        (format!("name = \"m\"\n{targets}"), "models[0].targets[0]:3 has no price"),
        (
            format!("name = \"m\"\n{free}\ntargets = [{{ upstream = \"main\" }}, {{ upstream = \"main\" }}]"),
            "models[0].targets[1]:4 is the same target",
        ),
        (format!("name = \"m\"\n{free}\n{targets}\nendpoints = []"), "models[0].endpoints:5 a model needs"),
        (
            format!("name = \"m\"\n{free}\n{targets}\nendpoints = [\"chat\", \"chat\"]"),
            "models[0].endpoints[1]:5 is listed twice",
        ),
        (
            format!("name = \"m\"\n{free}\n{targets}\nmax_output_tokens = -1"),
            "models[0].max_output_tokens:5 must be from 1 to",
        ),
        (
            format!("name = \"m\"\n{free}\n{targets}\nmax_output_tokens = 1.5"),
            "models[0].max_output_tokens:5 must be a whole number, and is of type float",
        ),
        (format!("{MODEL}\n[[models]]\n{MODEL}"), "models[1].name:6 there is another model named `m`"),
        (
            format!("name = \"m\"\n{free}\ntargets = [{{ upstream = 5 }}]"),
            "models[0].targets[0].upstream:4 must be",
        ),
    ] {
        let found = of_model(&model);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn prices_are_exact_and_sane() {
    let of_price = |price: &str| {
        of_model(&format!("name = \"m\"\ntargets = [{{ upstream = \"main\" }}]\nprice = {price}"))
    };
    for (price, expected) in [
        ("\"cheap\"", "price:4 must be `\"free\"`, `\"catalogue\"` or a table"),
        ("5", "price:4 must be a table, and is of type integer"),
        ("{ currency = \"JPY\", input = 1 }", "price.output:4 `output` is missing"),
        ("{ input = 1, output = 1 }", "price.currency:4 `currency` is missing"),
        ("{ currency = \"yen\", input = 1, output = 1 }", "price.currency:4 must be three"),
        ("{ currency = \"XXX\", input = 1, output = 1 }", "price.currency:4 must be three"),
        ("{ currency = \"JPY\", input = -1, output = 1 }", "price.input:4 must not be negative"),
        ("{ currency = \"JPY\", input = 1, output = 1000000.1 }", "price.output:4 is absurd"),
        ("{ currency = \"JPY\", input = 1e3, output = 1 }", "price.input:4 must be a decimal number"),
        ("{ currency = \"JPY\", input = inf, output = 1 }", "price.input:4 must be a decimal number"),
        ("{ currency = \"JPY\", input = 0x10, output = 1 }", "price.input:4 must be a decimal number"),
        ("{ currency = \"JPY\", input = true, output = 1 }", "price.input:4 must be a decimal number"),
        ("{ currency = \"JPY\", input = 0.0000001, output = 1 }", "price.input:4 has more than 6 digits"),
        ("{ currency = \"JPY\", input = 1, output = 1, cached = 1 }", "price.cached:4 `cached` is not known"),
    ] {
        let found = of_price(price);
        assert!(found.starts_with(&format!("models[0].{expected}")), "{found}");
    }
    let price = "{ currency = \"JPY\", input = \"0.0028\", output = 1_000, cached_input = 0 }";
    let config = crate::tests::CONFIG.replace("\"free\"", price);
    let config = read(&config).expect("a sound configuration");
    let price = config.model_named("local").expect("a model").1.targets[0].prices.at(0).rates;
    assert_eq!((price.input, price.cached_input, price.output), (2_800, 0, 1_000_000_000));
}

#[test]
fn keys_are_sound() {
    let two = format!("name = \"k\"\ndigest = \"{DIGEST}\"\n[[keys]]\n");
    for (key, expected) in [
        ("name = \"k\"".to_owned(), "keys[0].digest:5 `digest` is missing"),
        (format!("digest = \"{DIGEST}\""), "keys[0].name:5 `name` is missing"),
        (format!("name = \"k:1\"\ndigest = \"{DIGEST}\""), "keys[0].name:6 a key's name has"),
        ("name = \"k\"\ndigest = \"tg_secret\"".into(), "keys[0].digest:7 must be `sha256:`"),
        (
            format!("name = \"k\"\ndigest = \"{}\"", DIGEST.to_uppercase()),
            "keys[0].digest:7 must be `sha256:`",
        ),
        (format!("name = \"k\"\ndigest = \"{DIGEST}0\""), "keys[0].digest:7 must be `sha256:`"),
        (
            format!("{two}name = \"l\"\ndigest = \"{DIGEST}\""),
            "keys[1].digest:10 is the digest of key `k` too",
        ),
        (
            format!("{two}name = \"k\"\ndigest = \"{}\"", DIGEST.replace('9', "8")),
            "keys[1].name:9 there is another key named `k`",
        ),
    ] {
        let found = of_key(&key);
        assert!(found.starts_with(expected), "{found}");
    }
    let another = |field: &str| format!("{two}{field}\ndigest = \"{}\"", DIGEST.replace('9', "8"));
    for (key, expected) in [
        (another("name = \"k/l\""), "keys[0].name:6 `k` is a scope, so no key can have this name"),
        (another("name = \"k/l/m/n\""), "keys[1].name:9 a key's name has 1 to 3 parts such as"),
        (
            format!("name = \"k\"\ndigest = \"{DIGEST}\"\n[[scopes]]\nname = \"k\""),
            "keys[0].name:6 `k` is a scope",
        ),
    ] {
        let found = of_key(&key);
        assert!(found.starts_with(expected), "{found}");
    }
    for (field, expected) in [
        ("priority = \"high\"", "priority:8 must be `urgent`, `normal` or `batch`"),
        ("priority = 1", "priority:8 must be a string"),
        ("expires = \"tomorrow\"", "expires:8 must be a date and a time with its offset"),
        ("expires = 2027-01-01", "expires:8 must be a date and a time with its offset"),
        ("expires = 2027-01-01T00:00:00", "expires:8 must be a date and a time with its offset"),
        ("expires = 1960-01-01T00:00:00Z", "expires:8 must be a date and a time with its offset"),
        ("expires = 1", "expires:8 must be a date and a time with its offset"),
        ("concurrent = 0", "concurrent:8 must be from 1 to 1000000"),
        ("concurrent = \"8\"", "concurrent:8 must be a whole number, and is of type string"),
        ("budget = []", "budget:8 needs at least one budget"),
        (&format!("budget = [{}]", "1,".repeat(17)), "budget:8 must be at most 16 budgets"),
        ("budget = [\"5 JPY/day\", 5]", "budget[1]:8 must be a string"),
        ("budget = [\"5 JPY/day\", \"5 JPY/year\"]", "budget[1]:8 must be an amount"),
        (
            "budget = [\"5 JPY/day\", \"6 JPY/day\"]",
            "budget[1]:8 is a second budget of this currency and period",
        ),
        ("budget = [\"5 JPY/day\", \"6 USD/day\"]", "budget[1]:8 the budget is in USD, but model `m`"),
        ("models = []", "models:8 a key needs at least one model"),
        ("models = [\"m\", \"m\"]", "models[1]:8 is listed twice"),
        ("models = [\"n\"]", "models[0]:8 there is no model `n`; did you mean `m`?"),
        ("key = \"tg_secret\"", "key:8 `key` is not known here"),
        ("requests = 100", "requests:8 must be a string"),
        ("requests = \"100\"", "requests:8 must be a number and a duration"),
        ("requests = \"+100/1m\"", "requests:8 must be a number and a duration"),
        ("requests = \"0/1m\"", "requests:8 the limit must be from 1"),
        ("tokens = \"9999999999999/1m\"", "tokens:8 the limit must be from 1"),
        ("tokens = \"1/1y\"", "tokens:8 must be a number and a duration"),
        ("budget = \"1000/month\"", "budget:8 must be an amount"),
        ("budget = \"1000 JPY/year\"", "budget:8 must be an amount"),
        ("budget = \"0 JPY/day\"", "budget:8 the amount must be more than 0"),
        ("budget = \"-5 JPY/day\"", "budget:8 the amount must not be negative"),
        ("budget = \"9000000.1 JPY/day\"", "budget:8 the amount must be at most 9000000"),
        ("budget = \"0.0000000001 JPY/day\"", "budget:8 the amount has more than 9 digits"),
        (
            "budget = \"5 USD/week\"",
            "budget:8 the budget is in USD, but model `m` is priced in JPY: give it `charge_in = \"USD\"`",
        ),
    ] {
        let found = of_key_with(field);
        assert!(found.starts_with(&format!("keys[0].{expected}")), "{found}");
    }
}

#[test]
fn scopes_are_sound() {
    let key = format!("name = \"acme/k\"\ndigest = \"{DIGEST}\"\nmodels = [\"m\"]");
    let of_scope = |scope: &str| of_key(&format!("{key}\n[[scopes]]\n{scope}"));
    for (scope, expected) in [
        ("requests = \"1/1m\"", "scopes[0].name:9 `name` is missing"),
        ("name = \"a/b/c\"", "scopes[0].name:10 a scope's name has 1 to 2 parts such as `organisation/team`"),
        ("name = \"a\"\n[[scopes]]\nname = \"a\"", "scopes[1].name:12 there is another scope named `a`"),
        ("name = \"a\"\ndigest = \"secret\"", "scopes[0].digest:11 `digest` is not known here"),
        ("name = \"a\"\ntokens = \"5\"", "scopes[0].tokens:11 must be a number and a duration"),
        ("name = \"a\"\nconcurrent = -1", "scopes[0].concurrent:11 must be from 1"),
        (
            "name = \"acme\"\nbudget = \"5 USD/day\"",
            "scopes[0].budget:11 the budget is in USD, but model `m`",
        ),
        ("name = \"acme/k\"", "keys[0].name:6 `acme/k` is a scope, so no key"),
    ] {
        let found = of_scope(scope);
        assert!(found.starts_with(expected), "{found}");
    }
    // Nobody below it meets a price in another currency: nobody is below it.
    let config =
        format!("[[models]]\n{MODEL}\n[[keys]]\n{key}\n[[scopes]]\nname = \"other\"\nbudget = \"5 USD/day\"");
    assert!(read(&config).is_ok());
    assert!(
        problems("scopes = 1")
            .iter()
            .any(|found| found == "scopes:1 must be an array, and is of type integer")
    );
}

#[test]
fn a_key_has_the_limits_of_every_scope_around_it() {
    let config = format!(
        "[[models]]\n{MODEL}\n[[scopes]]\nname = \"a/b\"\nconcurrent = 3\ntokens = \"2/1m\"\n\
         [[scopes]]\nname = \"a\"\nbudget = [\"5 JPY/day\", \"50 JPY/month\"]\n[[scopes]]\nname = \"b\"\nconcurrent = 1\n\
         [[keys]]\nname = \"a/b/k\"\ndigest = \"{DIGEST}\"\nrequests = \"1/1m\"\n"
    );
    let config = read(&config).expect("a sound configuration");
    let limits =
        config.keys()[0].caller.limits.iter().map(|limit| (limit.scope.as_str(), limit.text.as_str()));
    let expected =
        [("a", "5 JPY/day"), ("a", "50 JPY/month"), ("a/b", "2/1m"), ("a/b", "3"), ("a/b/k", "1/1m")];
    assert_eq!(limits.collect::<Vec<_>>(), expected);
    assert!(
        config.has_scope("a")
            && config.has_scope("b")
            && !config.has_scope("a/b/k")
            && config.has_key("a/b/k")
    );
}

#[test]
fn an_expiry_is_an_instant_however_it_is_written() {
    for text in ["2027-01-01T00:00:00Z", "\"2027-01-01T09:00:00.000+09:00\"", "2026-12-31 23:00:00-01:00"] {
        let config =
            format!("[[models]]\n{MODEL}\n[[keys]]\nname = \"k\"\ndigest = \"{DIGEST}\"\nexpires = {text}\n");
        let config = read(&config).expect("a sound configuration");
        assert_eq!(config.keys()[0].expires_ms, Some(1_798_761_600_000), "{text}");
    }
}

#[test]
fn the_calendar_has_a_time_zone() {
    let of_calendar = |calendar: &str| {
        problem(&format!("{MODEL}\n[calendar]\n{calendar}"), &format!("name = \"k\"\ndigest = \"{DIGEST}\""))
    };
    for (calendar, expected) in [
        (
            "time_zone = \"Asia/Tokio\"",
            "calendar.time_zone:6 there is no time zone `Asia/Tokio`; did you mean `Asia/Tokyo`?",
        ),
        (
            "time_zone = \"Mars\"",
            "calendar.time_zone:6 there is no time zone `Mars`; it needs an IANA name such as `Asia/Tokyo`",
        ),
        ("time_zone = 9", "calendar.time_zone:6 must be a string, and is of type integer"),
        ("zone = \"UTC\"", "calendar.zone:6 `zone` is not known here; known are `time_zone`"),
    ] {
        assert_eq!(of_calendar(calendar), expected);
    }
    let config = crate::tests::CONFIG.replace("[server]", "[calendar]\ntime_zone = \"Asia/Tokyo\"\n[server]");
    let span = read(&config)
        .expect("a sound configuration")
        .calendar
        .around(crate::calendar::Period::Day, crate::tests::NOW);
    assert_eq!((span.name().as_str(), span.start_ms % 86_400_000), ("2026-11-23", 15 * 3_600_000));
}

#[test]
fn a_budget_meets_only_the_models_of_its_key() {
    let config = format!(
        "[[models]]\n{MODEL}\n[[models]]\nname = \"free\"\ntargets = [{{ upstream = \"main\" }}]\nprice = \"free\"\n\
         [[keys]]\nname = \"k\"\ndigest = \"{DIGEST}\"\nbudget = \"5 USD/week\"\nmodels = [\"free\"]\n"
    );
    assert!(read(&config).is_ok());
}

#[test]
fn a_key_of_an_unsound_model_is_no_second_problem() {
    let found = problem(
        &format!("{MODEL}\nendpoints = [\"x\"]"),
        &format!("name = \"k\"\ndigest = \"{DIGEST}\"\nmodels = [\"m\"]"),
    );
    assert!(found.starts_with("models[0].endpoints[0]:5 "), "{found}");
}

#[test]
fn a_fingerprint_tells_configurations_apart() {
    let fingerprint = |config: &str| read(config).expect("a sound configuration").fingerprint;
    let config = crate::tests::CONFIG;
    assert_eq!(fingerprint(config), fingerprint(config));
    assert_ne!(fingerprint(config), fingerprint(&format!("{config}\n")));
}
