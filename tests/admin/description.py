"""The OpenAPI description, read from its file, and answers held against it."""

import json
import re
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "host/src/admin/openapi.json"
METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]
_NAME = "urn:description"


class Description:
    """The operations of the file by their id, and what each may answer."""

    def __init__(self):
        self.document = json.loads(FILE.read_text())
        self._registry = Registry().with_resource(_NAME, Resource(self.document, DRAFT202012))
        self.operations = {
            operation["operationId"]: (method.upper(), path)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }

    def find(self, method, target):
        """The id of the operation that a request is, or none."""
        path = target.split("?")[0]
        for name, (its_method, template) in self.operations.items():
            pattern = "".join("[^/]+" if part.startswith("{") else re.escape(part)
                              for part in re.split(r"(\{[^}]+\})", template))
            if method == its_method and re.fullmatch(pattern, path):
                return name
        return None

    def check_answer(self, name, status, media_type, body):
        """Holds an answer to an operation against what is described; without a name, against an error's shape."""
        place = "/components/responses/Error"
        if name is not None:
            method, path = self.operations[name]
            responses = self.document["paths"][path][method.lower()]["responses"]
            # What is not listed by its number is an error.
            if str(status) in responses:
                place = f"/paths/{_escaped(path)}/{method.lower()}/responses/{status}"
            else:
                assert status >= 400, f"{name} answers with {status}, which is not described"
        else:
            assert status >= 400, f"something that is not described was answered with {status}"
        described = self._at(place)["content"]
        assert media_type in described, f"{media_type} is not described at {place}"
        value = json.loads(body) if media_type == "application/json" else body.decode()
        self._check(f"{place}/content/{_escaped(media_type)}/schema", value)
        return value

    def accepts(self, name, document):
        """Whether a body is one that an operation describes."""
        method, path = self.operations[name]
        place = f"/paths/{_escaped(path)}/{method.lower()}/requestBody/content/application~1json/schema"
        return self._validator(place).is_valid(document)

    def _check(self, place, value):
        wrong = [f"{error.json_path}: {error.message}" for error in self._validator(place).iter_errors(value)]
        assert not wrong, f"not as described at {place}:\n" + "\n".join(wrong)

    def _validator(self, place):
        self._at(place)
        return Draft202012Validator({"$ref": f"{_NAME}#{place}"}, registry=self._registry)

    def _at(self, place):
        node = self.document
        for part in place.split("/")[1:]:
            node = node[part.replace("~1", "/").replace("~0", "~")]
        return node


def _escaped(part):
    """A part of a JSON pointer. The braces of a path are not characters of a URI's fragment."""
    return part.replace("~", "~0").replace("/", "~1")
