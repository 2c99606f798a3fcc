"""What is wrong with a schema itself, said by keyword and field with what would be right.

A validator passes over a `maximun` in silence, and of `"type": "float"` it says that each value is wrong: both would cost
the bot a limit or its author an evening. botops refuses the same keywords once it reads the schema.
"""
from __future__ import annotations

import difflib
import re
from decimal import Decimal
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

# Mistakes that are told at once; whoever has more mends these first.
_MOST_TOLD = 5
_MOST_MARKS = 20
_LONGEST_WORD = 60
_DEEPEST = 64
_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
# What other languages and libraries call a type.
_OTHER_TYPES = {
    "float": "number", "double": "number", "decimal": "number", "numeric": "number", "real": "number",
    "int": "integer", "long": "integer", "str": "string", "text": "string", "date": "string", "datetime": "string",
    "bool": "boolean", "list": "array", "tuple": "array", "set": "array", "dict": "object", "map": "object",
    "mapping": "object", "none": "null", "nil": "null", "nonetype": "null",
}
# Keywords of other libraries and of older drafts.
_OTHER_KEYWORDS = {
    "min": "`minimum` (of a number), `minLength` (of a text) or `minItems` (of a list)",
    "max": "`maximum` (of a number), `maxLength` (of a text) or `maxItems` (of a list)",
    "gt": "`exclusiveMinimum`", "ge": "`minimum`", "lt": "`exclusiveMaximum`", "le": "`maximum`",
    "choices": "`enum`", "options": "`enum`", "values": "`enum`", "regex": "`pattern`", "fields": "`properties`",
    "help": "`x-help`", "unit": "`x-unit`", "optional": "nothing: what `required` does not name is optional",
    "nullable": "`\"type\": [\"number\", \"null\"]`, with its own type", "definitions": "`$defs`",
    "prefixItems": "`items`: each item has the same schema", "unevaluatedProperties": "`additionalProperties`",
    "dependentSchemas": "`if` and `then`", "dependencies": "`dependentRequired`",
}


class _Form(NamedTuple):
    fits: Callable[[Any], bool]
    wanted: str


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_schema(value: Any) -> bool:
    return isinstance(value, (Mapping, bool))


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_fields(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_schema, value.values()))


def _one_of(*words: str) -> _Form:
    return _Form(lambda value: value in words, "one of " + ", ".join(f'"{word}"' for word in words))


_ANY = _Form(lambda value: True, "")
_NUMBER = _Form(_is_number, "a number, not in quotes")
_SIZE = _Form(_is_size, "a whole number, not in quotes")
_TEXT = _Form(_is_text, "a text")
_FLAG = _Form(lambda value: isinstance(value, bool), "true or false")
_SCHEMA = _Form(_is_schema, "a schema: an object, true or false")
_SCHEMAS = _Form(lambda value: _is_list_of(_is_schema)(value) and value, "a list of schemas")
_FIELDS = _Form(_is_fields, "an object that names each field with its schema")
_FORMS: Dict[str, _Form] = {
    **dict.fromkeys(("minimum", "maximum"), _NUMBER),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"),
                    _Form(_is_number, "a number, which the value itself must not be (true or false was draft 4)")),
    "multipleOf": _Form(lambda value: _is_number(value) and value > 0, "a number above 0"),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains",
                     "maxContains"), _SIZE),
    **dict.fromkeys(("pattern", "format", "$ref", "$schema", "$id", "$comment", "title", "description"), _TEXT),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly", "x-secret"), _FLAG),
    **dict.fromkeys(("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"), _SCHEMA),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), _SCHEMAS),
    **dict.fromkeys(("properties", "patternProperties", "$defs"), _FIELDS),
    "enum": _Form(lambda value: isinstance(value, list) and bool(value), "a list of the allowed values"),
    "required": _Form(_is_list_of(_is_text), "a list of names in the object that has the fields, beside its `properties`"),
    "dependentRequired": _Form(lambda value: isinstance(value, Mapping) and all(map(_is_list_of(_is_text), value.values())),
                               "an object of lists of names"),
    "examples": _Form(lambda value: isinstance(value, list), "a list"),
    "const": _ANY, "default": _ANY,
    "x-apply": _one_of("hot", "restart", "never"),
    "x-role": _TEXT, "x-unit": _TEXT, "x-help": _TEXT, "x-list-key": _TEXT,
    "x-warn-above": _NUMBER, "x-warn-below": _NUMBER,
    "x-risk": _Form(lambda value: isinstance(value, Mapping), 'an object such as {"direction": "up", "class": "high"}'),
}
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_SEVERAL = ("allOf", "anyOf", "oneOf")
_NAMED = ("properties", "patternProperties", "$defs")


# The words of the contract for what a field means to botops.
_ROLES = ("daily_loss_limit", "equity_loss_limit", "targets")
# A keyword of the bot's own that is this like one of botops is taken for a misspelt one; `x-rule` is not.
_LIKENESS = 0.78


class UnknownMark(NamedTuple):
    """What the schema says to botops in words that botops does not know: where it stands, and a sentence."""

    pointer: str
    message: str


def unknown_marks(root: Mapping[str, Any]) -> List[UnknownMark]:
    """Keywords with `x-` that are nearly one of botops', and roles that there are not. botops passes over them in silence."""
    found: List[UnknownMark] = []
    for at, part in _walk(root, lambda keyword, name: f"/{keyword}/{_escaped(name)}", "", 0):
        for name, value in part.items():
            said = _mistake_of_mark(str(name), value)
            if said is not None and len(found) < _MOST_MARKS:
                found.append(UnknownMark(f"{at}/{_escaped(str(name))}", said))
    return found


def _mistake_of_mark(name: str, value: Any) -> Optional[str]:
    if name == "x-role" and isinstance(value, str) and value not in _ROLES:
        near = difflib.get_close_matches(value.strip().lower().replace("-", "_"), _ROLES, 1, 0.6)
        meant = f'did you mean "{near[0]}"?' if near else "leave it out"
        return f'there is no role "{value[:_LONGEST_WORD]}"; {meant} (the roles are {", ".join(_ROLES)})'
    if not name.startswith("x-") or name in _FORMS:
        return None
    word, marks = name[2:].lower().replace("_", "-"), [known[2:] for known in _FORMS if known.startswith("x-")]
    near = [mark for mark in marks if sorted(mark) == sorted(word)] or difflib.get_close_matches(word, marks, 1, _LIKENESS)
    if not near:
        return None
    return f"`{name[:_LONGEST_WORD]}` is no keyword of botops, which passes over it; did you mean `x-{near[0]}`?"


def check_schema(root: Mapping[str, Any]) -> None:
    """Raises ValueError, which names each keyword that is none or has no value for it, its field, and what would be right."""
    found: List[str] = []
    for at, part in walk_schema(root):
        where = f"of `{at}`" if at else "of the whole config"
        found += [f"`{name}` {where} {wrong}" for name, value in part.items() for wrong in _mistakes(str(name), value)]
    if found:
        more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
        raise ValueError("the config schema is not JSON Schema 2020-12: " + "; ".join(found[:_MOST_TOLD]) + more)


def walk_schema(root: Any) -> Iterator[Tuple[str, Mapping[str, Any]]]:
    """Every schema in a schema, with the field that it is about. What is a value in it, as of `default`, is none."""
    return _walk(root, lambda keyword, name: f"/{name}" if keyword == "properties" else f"/{keyword}/{name}", "", 0)


def _walk(part: Any, step: Callable[[str, str], str], at: str, depth: int) -> Iterator[Tuple[str, Mapping[str, Any]]]:
    if not isinstance(part, Mapping) or depth > _DEEPEST:
        return
    yield at, part
    for keyword in _NAMED:
        named = part.get(keyword)
        for name, inner in named.items() if isinstance(named, Mapping) else ():
            yield from _walk(inner, step, at + step(keyword, str(name)), depth + 1)
    for keyword in _SEVERAL:
        several = part.get(keyword)
        for index, inner in enumerate(several if isinstance(several, list) else ()):
            yield from _walk(inner, step, f"{at}/{keyword}/{index}", depth + 1)
    for keyword in _ONE:
        yield from _walk(part.get(keyword), step, f"{at}/{keyword}", depth + 1)


def _escaped(name: str) -> str:
    """A name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _mistakes(name: str, value: Any) -> Iterator[str]:
    if name == "type":
        yield from _mistakes_of_type(value)
        return
    form = _FORMS.get(name)
    if form is None:
        if not name.startswith("x-"):
            yield f"is no keyword of a config schema: {_right_keyword(name)}"
        return
    if not form.fits(value):
        yield f"has no value for it: write {form.wanted}"
    elif name == "pattern":
        try:
            re.compile(value)
        except re.error as error:
            yield f"is no regular expression: {error}"


def _mistakes_of_type(value: Any) -> Iterator[str]:
    types = value if isinstance(value, list) and value else [value]
    for one in types:
        if isinstance(one, str) and one in _TYPES:
            continue
        named = one if isinstance(one, str) else "not even a text"
        near = _right_type(one) if isinstance(one, str) else None
        wanted = f'write "{near}" (the types are {", ".join(_TYPES)})' if near else "write one of " + ", ".join(_TYPES)
        yield f'is "{named[:40]}", which is no type of JSON: {wanted}'


def _right_type(name: str) -> Optional[str]:
    word = name.strip().lower()
    if word in _TYPES:
        return word
    near = difflib.get_close_matches(word, _TYPES, 1, 0.7)
    return _OTHER_TYPES.get(word) or (near[0] if near else None)


def _right_keyword(name: str) -> str:
    if name in _OTHER_KEYWORDS:
        return f"write {_OTHER_KEYWORDS[name]}"
    near = difflib.get_close_matches(name, ["type", *_FORMS], 1, 0.75)
    if near:
        return f"write `{near[0]}`, or leave it out"
    return "leave it out; a keyword of your own begins with `x-`"
