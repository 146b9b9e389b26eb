"""The manifests for Istio and Envoy Gateway, as far as they can be checked without a cluster: they are YAML of the kinds that
they say, nothing passes when the module fails, the configuration in them is sound, and what they add to Envoy is what
`envoy.yaml` has, which runs in a real Envoy elsewhere."""

from pathlib import Path

import pytest
import yaml

from gateway import run

ROOT = Path(__file__).resolve().parents[2]


def documents(name):
    return list(yaml.safe_load_all((ROOT / "examples/envoy" / name).read_text()))


def parts(name, kinds):
    found = documents(name)
    assert [(part["apiVersion"], part["kind"]) for part in found] == kinds
    return [part["spec"] for part in found]


def istio():
    return parts(
        "istio.yaml",
        [("extensions.istio.io/v1alpha1", "WasmPlugin"), ("networking.istio.io/v1alpha3", "EnvoyFilter")],
    )


def envoy_gateway():
    version = "gateway.envoyproxy.io/v1alpha1"
    return parts("envoy-gateway.yaml", [(version, "EnvoyExtensionPolicy"), (version, "EnvoyPatchPolicy")])


@pytest.fixture(scope="module")
def envoy():
    """What runs: the bootstrap, and the virtual host of its door."""
    [bootstrap] = documents("envoy.yaml")
    [door] = [each for each in bootstrap["static_resources"]["listeners"] if each["name"] == "door"]
    manager = door["filter_chains"][0]["filters"][0]["typed_config"]
    [host] = manager["route_config"]["virtual_hosts"]
    return bootstrap, host


@pytest.mark.parametrize("name", ["istio.yaml", "envoy-gateway.yaml"])
def test_the_configuration_in_it_is_sound(name, tmp_path):
    plugin = istio()[0]["pluginConfig"] if name == "istio.yaml" else envoy_gateway()[0]["wasm"][0]["config"]
    file = tmp_path / "tollgate.toml"
    file.write_text(plugin["config"])
    checked = run("check", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_nothing_passes_when_the_module_fails():
    assert istio()[0]["failStrategy"] == "FAIL_CLOSE"
    [wasm] = envoy_gateway()[0]["wasm"]
    assert (wasm["failOpen"], wasm["rootID"]) == (False, "door")


def test_istio_adds_what_runs_in_envoy(envoy):
    bootstrap, host = envoy
    patches = [(each["applyTo"], each["patch"]) for each in istio()[1]["configPatches"]]
    plugin, internal, door, rest, upstream = [patch["value"] for _, patch in patches]
    assert [(to, patch["operation"]) for to, patch in patches] == [
        ("EXTENSION_CONFIG", "MERGE"),
        ("BOOTSTRAP", "MERGE"),
        ("VIRTUAL_HOST", "MERGE"),
        ("HTTP_ROUTE", "MERGE"),
        ("HTTP_ROUTE", "INSERT_FIRST"),
    ]
    config = plugin["typed_config"]["config"]
    assert config == {"allow_on_headers_stop_iteration": True, "vm_config": {"vm_id": "tollgate"}}
    assert internal == {"bootstrap_extensions": bootstrap["bootstrap_extensions"]}
    assert door == {name: host[name] for name in ("request_headers_to_remove", "include_is_timeout_retry_header")}
    first, second = host["routes"]
    assert {name: upstream[name] for name in ("match", "route")} == first
    assert rest["route"] == second["route"]


def test_envoy_gateway_adds_what_a_plugin_there_cannot_say():
    operations = [patch["operation"] for patch in envoy_gateway()[1]["jsonPatches"]]
    changes = {operation["path"]: (operation["op"], operation["value"]) for operation in operations}
    assert changes == {"allow_on_headers_stop_iteration": ("add", True), "vm_id": ("replace", "tollgate")}
