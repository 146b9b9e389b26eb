//! `tollgate prices`, and the price list of a configuration, as an operator uses them.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tollgate_tests::programs::{folder, tollgate};

const LITELLM: &str = include_str!("../../prices/litellm.json");

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = tollgate(folder).args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A configuration whose model is priced by the list, in yen.
fn config(model: &str, more: &str) -> String {
    format!(
        "[prices]\nfile = \"prices.json\"\ncurrency = \"JPY\"\n{more}\n[upstreams.main]\nbase_url = \"http://127.0.0.1:9/v1\"\n\
         [[exchange_rates]]\nfrom = \"USD\"\nto = \"JPY\"\nrate = \"150.2\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ upstream = \"main\" }}]\nprice = {{ catalogue = \"{model}\" }}\n\
         [[keys]]\nname = \"k\"\ndigest = \"sha256:{}\"\nbudget = \"100 JPY/day\"\n",
        "0".repeat(64)
    )
}

#[test]
fn what_is_imported_is_a_price_list() {
    let place = folder();
    fs::write(place.path().join("litellm.json"), LITELLM).unwrap();
    let import = ["prices", "import", "litellm.json", "--since", "2026-11-01"];
    let (code, list, told) = run(place.path(), &import);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.ends_with("26 prices taken over, 16 models left out, 35 remarks\n"), "{told}");
    assert!(
        told.contains("\nreplicate/too-fine: left out: `input_cost_per_token` (3.3333333333333335e-07)"),
        "{told}"
    );
    let list: Value = serde_json::from_str(&list).unwrap();
    let claude =
        list["prices"].as_array().unwrap().iter().find(|entry| entry["provider"] == "anthropic").unwrap();
    assert_eq!(
        *claude,
        json!({
            "provider": "anthropic", "model": "claude-sonnet-4-5", "currency": "USD", "since": "2026-11-01",
            "source": "LiteLLM's model_prices_and_context_window.json", "input": "3", "output": "15",
            "cached_input": "0.3", "cache_write": "3.75", "tiers": [{
                "above_input_tokens": 200_000, "input": "6", "output": "22.5", "cached_input": "0.6", "cache_write": "7.5"
            }],
        })
    );

    // The policy takes all of it, and `show` finds what it has before what the catalogue has.
    let (code, printed, _) = run(place.path(), &[&import[..], &["--out", "prices.json"]].concat());
    assert_eq!((code, printed.as_str()), (Some(0), ""));
    fs::write(place.path().join("gate.toml"), config("replicate/fine-enough", "")).unwrap();
    let (code, printed, told) = run(place.path(), &["check", "gate.toml"]);
    assert_eq!((code, printed.as_str(), told.as_str()), (Some(0), "gate.toml: no problems\n", ""));
    let show = |arguments: &[&str]| run(place.path(), &[&["prices", "show"], arguments].concat());
    let (code, own, _) = show(&["openai/gpt-4o", "--config", "gate.toml"]);
    assert!(code == Some(0) && own.contains("LiteLLM's") && !own.contains("OpenAI pricing page"), "{own}");
    let (code, built_in, _) = show(&["gpt-4o"]);
    assert_eq!((code, built_in.matches("OpenAI pricing page").count()), (Some(0), 2), "{built_in}");
    let (code, nothing, told) = show(&["no-such-model"]);
    assert_eq!((code, nothing.as_str(), told.as_str()), (Some(1), "", "no price list has `no-such-model`\n"));
}

#[test]
fn only_models_that_are_wanted_are_imported() {
    let place = folder();
    fs::write(place.path().join("litellm.json"), LITELLM).unwrap();
    let (code, list, told) =
        run(place.path(), &["prices", "import", "litellm.json", "--models", "azure/*", "mistral/*", "none"]);
    assert_eq!(code, Some(0), "{told}");
    let list: Value = serde_json::from_str(&list).unwrap();
    let names: Vec<_> =
        list["prices"].as_array().unwrap().iter().map(|entry| entry["model"].as_str()).collect();
    assert_eq!(names, [Some("mistral-large-latest"), Some("gpt-4o"), Some("eu/gpt-4o")]);
    assert_eq!(told, "no model is like `none`\n3 prices taken over, 0 models left out, 1 remarks\n");
}

#[test]
fn a_file_that_is_no_catalogue_of_litellms_is_refused_with_exit_code_65() {
    let place = folder();
    for text in ["[1]", "not json", "{\"prices\": []}"] {
        fs::write(place.path().join("other.json"), text).unwrap();
        let (code, list, told) = run(place.path(), &["prices", "import", "other.json", "--out", "out.json"]);
        assert_eq!((code, list.as_str()), (Some(65), ""), "{told}");
        assert!(
            told.contains("other.json cannot be used") && told.contains("is not LiteLLM's list"),
            "{told}"
        );
        assert!(!place.path().join("out.json").exists());
    }
    let (code, _, told) = run(place.path(), &["prices", "import", "missing.json"]);
    assert!(code == Some(1) && told.contains("cannot read missing.json"), "{told}");
}

#[test]
fn a_price_list_that_cannot_be_read_is_a_problem_with_its_place() {
    let place = folder();
    fs::write(place.path().join("gate.toml"), config("openai/gpt-4o", "")).unwrap();
    let (code, _, told) = run(place.path(), &["check", "gate.toml"]);
    assert!(code == Some(78) && told.contains("prices.file: prices.json cannot be read"), "{told}");
    fs::write(place.path().join("prices.json"), "{\"prices\": [{\"provider\": 5}]}").unwrap();
    let (code, _, told) = run(place.path(), &["check", "gate.toml"]);
    assert!(code == Some(78) && told.contains("line 2: prices.file: price 1 cannot be read"), "{told}");
}

#[test]
fn what_is_free_for_want_of_a_price_is_told() {
    let place = folder();
    fs::write(place.path().join("prices.json"), "{\"prices\": []}").unwrap();
    fs::write(place.path().join("gate.toml"), config("nobody/knows-it", "unknown = \"free\"")).unwrap();
    let (code, printed, _) = run(place.path(), &["check", "gate.toml"]);
    assert_eq!(code, Some(0));
    assert!(printed.starts_with("note: line 14: models[0].price: nothing is charged for it"), "{printed}");
    assert!(printed.ends_with("gate.toml: no problems\n"), "{printed}");
}
