"""JSON Schema 2020-12, as far as a bot's config needs it, and the marks of botops in it (`x-apply`, `x-role`, …).

Numbers are compared as decimals. No message quotes a value: it may be a secret.
"""
from __future__ import annotations

import copy
import json
import operator
import re
from decimal import Decimal
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from .schema_check import UnknownMark, check_schema, unknown_marks, walk_schema

Violation = Dict[str, Any]
_MOST_VIOLATIONS = 100
_DEEPEST = 64


def parse_document(text: str) -> Any:
    """A JSON text, its fractions as decimals. Raises ValueError."""
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_float=Decimal, parse_constant=refuse)


def write_document(value: Any) -> str:
    """A document as JSON text; decimals keep their digits, as numbers."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(name))}:{write_document(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(write_document, value)) + "]"
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError("a number of a config must be finite")
        return format(value, "f")
    return json.dumps(value, allow_nan=False)


def escaped(name: str) -> str:
    """A member's name as a part of a JSON pointer."""
    return str(name).replace("~", "~0").replace("/", "~1")


def same(one: Any, two: Any) -> bool:
    """Whether two values mean the same: 1 and 1.0 do, 1 and true do not."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if _is_number(one) and _is_number(two):
        return _decimal(one) == _decimal(two)
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and bool(one == two)


def _identity(value: Any) -> Any:
    """The same for values that are the same: comparing each with each would take hours for a list of some length."""
    if _is_number(value):
        return "number", _decimal(value)
    if isinstance(value, Mapping):
        return "object", frozenset((name, _identity(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(map(_identity, value))
    return type(value).__name__, value


def changed_pointers(old: Any, new: Any, at: str = "") -> List[str]:
    """JSON pointers at which two documents differ; a list counts as one value."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: List[str] = []
        for name in list(old) + [name for name in new if name not in old]:
            pointer = f"{at}/{escaped(name)}"
            if name not in old or name not in new:
                found.append(pointer)
            else:
                found.extend(changed_pointers(old[name], new[name], pointer))
        return found
    return [] if same(old, new) else [at]


class ConfigSchema:
    """The bot's schema, and what it says of single fields."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        if not isinstance(document, Mapping) or not isinstance(document.get("properties"), Mapping):
            raise ValueError("a config schema is a JSON Schema with `properties`")
        self.text = write_document(document)
        self._root: Dict[str, Any] = parse_document(self.text)
        # A mistake in it is found when the bot starts, and not in the middle of a change.
        check_schema(self._root)
        for at, part in walk_schema(self._root):
            try:
                self._resolve(part)
            except (KeyError, TypeError):
                named = part.get("$ref")
                raise ValueError(f"`$ref` of `{at}` in the config schema leads nowhere: there is no `{named}`") from None

    def unknown_marks(self) -> List[UnknownMark]:
        """What it says to botops in words that botops does not know."""
        return unknown_marks(self._root)

    def _resolve(self, schema: Any, depth: int = 0) -> Any:
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(reference, str) or depth > _DEEPEST:
            return schema
        target: Any = self._root
        if not reference.startswith("#"):
            raise ValueError(f"only references within the schema are followed, not {reference}")
        for name in reference[1:].split("/")[1:]:
            target = target[name.replace("~1", "/").replace("~0", "~")]
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return self._resolve({**target, **rest}, depth + 1)

    def mark(self, pointer: str, name: str) -> Any:
        """What the schema says of a field under `x-…`: the innermost part on its path that says something."""
        found, schema = None, self._resolve(self._root)
        for part in pointer.split("/")[1:]:
            found = schema.get(name, found)
            part = part.replace("~1", "/").replace("~0", "~")
            others = schema.get("items" if part.isdigit() else "additionalProperties")
            inner = (schema.get("properties") or {}).get(part, others)
            if not isinstance(inner, Mapping):
                return found
            schema = self._resolve(inner)
        return schema.get(name, found)

    def pointer_of_role(self, role: str) -> Optional[str]:
        """The field with this `x-role`."""
        return next((pointer for pointer, schema in self._fields(self._root, "") if schema.get("x-role") == role), None)

    def pointers(self) -> List[str]:
        """The fields that the schema names, apart from those inside of lists."""
        return [pointer for pointer, _ in self._fields(self._root, "")]

    def _fields(self, schema: Any, at: str) -> Iterator[Tuple[str, Mapping[str, Any]]]:
        schema = self._resolve(schema)
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            yield at, schema
            return
        for name, inner in properties.items():
            yield from self._fields(inner, f"{at}/{escaped(name)}")

    def violations(self, document: Any) -> List[Violation]:
        """Every reason of the schema against a document."""
        found: List[Violation] = []
        self._check(self._root, document, "", found, 0)
        return found[:_MOST_VIOLATIONS]

    def _check(self, schema: Any, value: Any, at: str, found: List[Violation], depth: int) -> None:
        if schema is True or depth > _DEEPEST or len(found) >= _MOST_VIOLATIONS:
            return
        if schema is False:
            found.append(violation(at, "not_allowed", "there is no such field", "leave it out"))
            return
        schema = self._resolve(schema)
        wanted = schema.get("type")
        kinds = [wanted] if isinstance(wanted, str) else wanted
        if kinds and not any(_is_of(kind, value) for kind in kinds):
            found.append(violation(at, "wrong_type", f"expected {' or '.join(kinds)}"))
            return
        if "enum" in schema and not any(same(value, one) for one in schema["enum"]):
            found.append(violation(at, "not_one_of", "the value is none of the allowed ones",
                                   "use one of " + ", ".join(write_document(one) for one in schema["enum"][:20])))
        if "const" in schema and not same(value, schema["const"]):
            found.append(violation(at, "not_one_of", "only one value is allowed",
                                   "use " + write_document(schema["const"])))
        _check_number(schema, value, at, found)
        _check_text(schema, value, at, found)
        if isinstance(value, list):
            self._check_list(schema, value, at, found, depth)
        if isinstance(value, Mapping):
            self._check_object(schema, value, at, found, depth)
        self._check_combined(schema, value, at, found, depth)

    def _check_list(self, schema: Any, value: List[Any], at: str, found: List[Violation], depth: int) -> None:
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(violation(at, "wrong_length", "the list has too few or too many items"))
            return
        if schema.get("uniqueItems") and len(set(map(_identity, value))) < len(value):
            found.append(violation(at, "repeated", "an item is there twice"))
        for index, item in enumerate(value):
            if "items" in schema:
                self._check(schema["items"], item, f"{at}/{index}", found, depth + 1)

    def _check_object(self, schema: Any, value: Mapping[str, Any], at: str, found: List[Violation], depth: int) -> None:
        for name in schema.get("required", ()):
            if name not in value:
                found.append(violation(f"{at}/{escaped(name)}", "missing", "this field is required"))
        if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
            found.append(violation(at, "wrong_length", "too few or too many members"))
        properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, item in value.items():
            inner = [properties[name]] if name in properties else []
            inner += [part for pattern, part in patterns.items() if re.search(pattern, name)]
            if not inner and "additionalProperties" in schema:
                inner = [schema["additionalProperties"]]
            for part in inner:
                self._check(part, item, f"{at}/{escaped(name)}", found, depth + 1)

    def _check_combined(self, schema: Any, value: Any, at: str, found: List[Violation], depth: int) -> None:
        def passes(part: Any) -> bool:
            own: List[Violation] = []
            self._check(part, value, at, own, depth + 1)
            return not own

        for part in schema.get("allOf", ()):
            self._check(part, value, at, found, depth + 1)
        if "anyOf" in schema and not any(map(passes, schema["anyOf"])):
            found.append(violation(at, "no_alternative", "it fits none of the allowed forms"))
        if "oneOf" in schema and sum(map(passes, schema["oneOf"])) != 1:
            found.append(violation(at, "no_alternative", "it does not fit exactly one of the allowed forms"))
        if "not" in schema and passes(schema["not"]):
            found.append(violation(at, "not_allowed", "it has a form that is not allowed"))
        if "if" in schema:
            branch = schema.get("then" if passes(schema["if"]) else "else", True)
            self._check(branch, value, at, found, depth + 1)


def violation(path: str, code: str, message: str, fix: Optional[str] = None) -> Violation:
    """A reason against a document, in the contract's form."""
    found: Violation = {"path": path, "code": code, "message": message}
    if fix is not None:
        found["fix"] = fix
    return found


_LIMITS: Tuple[Tuple[str, str, Callable[[Decimal, Decimal], bool]], ...] = (
    ("minimum", "at least", operator.ge), ("maximum", "at most", operator.le),
    ("exclusiveMinimum", "more than", operator.gt), ("exclusiveMaximum", "less than", operator.lt),
    ("multipleOf", "a multiple of", lambda number, limit: number % limit == 0))


def _check_number(schema: Any, value: Any, at: str, found: List[Violation]) -> None:
    number = _bounded(value, schema)
    if number is None:
        return
    for name, words, holds in _LIMITS:
        if name in schema and not holds(number, _decimal(schema[name])):
            found.append(violation(at, "out_of_range", f"the value must be {words} {schema[name]}",
                                   f"use {words} {schema[name]}"))


def _check_text(schema: Any, value: Any, at: str, found: List[Violation]) -> None:
    if not isinstance(value, str):
        return
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        found.append(violation(at, "wrong_length", "the text is too short or too long"))
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(violation(at, "wrong_form", "the text does not have the form that is wanted"))


def _bounded(value: Any, schema: Any) -> Optional[Decimal]:
    # An amount may be written as a text; its limits hold all the same.
    if _is_number(value):
        return _decimal(value)
    kinds = schema.get("type")
    if isinstance(value, str) and isinstance(kinds, list) and "number" in kinds:
        try:
            number = Decimal(value)
            return number if number.is_finite() else None
        except ArithmeticError:
            return None
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(repr(value) if isinstance(value, float) else value)


def _is_of(kind: str, value: Any) -> bool:
    if kind == "integer":
        return _is_number(value) and _decimal(value) == _decimal(value).to_integral_value()
    if kind == "number":
        return _is_number(value)
    return kind in _KINDS and isinstance(value, _KINDS[kind])


_KINDS: Dict[str, type] = {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}


# Stands for a value that is not there.
ABSENT = object()


def value_at(value: Any, pointer: str, otherwise: Any = None) -> Any:
    """What a JSON pointer names; `otherwise` when there is no such value."""
    for name in pointer.split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return otherwise
    return value


def put_at(value: Any, pointer: str, wanted: Any) -> None:
    """Puts a value where a JSON pointer points, or with `ABSENT` takes it away."""
    names = [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]
    for name in names[:-1]:
        value = value.setdefault(name, {})
    if wanted is ABSENT:
        value.pop(names[-1], None)
    else:
        value[names[-1]] = copy.deepcopy(wanted)
