"""A mistake in the schema of a config is told when the bot is made: which keyword of which field, and what would be right."""
import json
import pathlib

from client import BotCase
from test_config import SCHEMA, VALUES

from botops import ConfigError
from botops.schema import ConfigSchema

TEMPLATE = pathlib.Path(__file__).resolve().parents[1] / "template/config.schema.json"


def with_field(**keywords):
    return {"type": "object", "properties": {"risk": keywords}}


class SchemasTest(BotCase):
    def said(self, schema, values=None):
        with self.assertRaises(ConfigError) as caught:
            self.make().config(schema, {} if values is None else values)
        return str(caught.exception)

    def test_a_type_that_is_none_is_named_with_its_field_and_the_right_one(self):
        for wrong, right in (("float", "number"), ("double", "number"), ("int", "integer"), ("str", "string"),
                             ("bool", "boolean"), ("dict", "object"), ("list", "array"), ("Number", "number"),
                             ("nubmer", "number"), ("None", "null")):
            said = self.said(with_field(type=wrong), {"risk": 0.5})
            self.assertIn(f'`type` of `/risk` is "{wrong}", which is no type of JSON: write "{right}"', said)
        self.assertIn('write "number"', self.said(with_field(type=["float", "null"])))
        self.assertIn("write one of string, number", self.said(with_field(type="money")))
        self.assertIn("write one of string, number", self.said(with_field(type=[])))

    def test_a_misspelt_word_of_botops_is_a_problem_at_the_start_that_names_the_near_one(self):
        bot = self.make()
        bot.config({"type": "object", "properties": {
            "loss": {"type": "number", "x-rolle": "daily_loss_limit", "x-aply": "hot", "x-group": "limits", "x-rule": 1},
            "a/b": {"type": "number", "x-role": "daily_los_limit"}, "pairs": {"$ref": "#/$defs/pairs"}},
            "$defs": {"pairs": {"type": "array", "x-role": "whatever"}}}, {})
        found = {problem.where: problem.message for problem in bot.problems if problem.code == "unknown_keyword"}
        at = "config.schema/properties"
        self.assertEqual(set(found), {f"{at}/loss/x-rolle", f"{at}/loss/x-aply", f"{at}/a~1b/x-role",
                                      "config.schema/$defs/pairs/x-role"}, bot.problems)
        self.assertIn("did you mean `x-role`?", found[f"{at}/loss/x-rolle"])
        self.assertIn("did you mean `x-apply`?", found[f"{at}/loss/x-aply"])
        self.assertIn('there is no role "daily_los_limit"; did you mean "daily_loss_limit"?', found[f"{at}/a~1b/x-role"])
        self.assertIn("the roles are daily_loss_limit, equity_loss_limit, targets", found["config.schema/$defs/pairs/x-role"])
        bot.start()
        told = [error for error in self.client.get("state")["recent_errors"] if error["error_code"] == "SDK_UNKNOWN_KEYWORD"]
        self.assertEqual(len(told), 4)
        self.assertIn("a limit may not be watched", told[0]["impact"])

    def test_a_keyword_that_is_none_is_named_with_the_right_one(self):
        for wrong, right in (("maximun", "`maximum`"), ("min", "`minimum` (of a number)"), ("choices", "`enum`"),
                             ("regex", "`pattern`"), ("nullable", '"null"'), ("wording", "leave it out")):
            said = self.said(with_field(type="number", **{wrong: True}))
            self.assertIn(f"`{wrong}` of `/risk` is no keyword of a config schema", said)
            self.assertIn(right, said)

    def test_a_keyword_without_a_value_for_it_is_named(self):
        for keyword, value, right in (("minimum", "5", "a number"), ("minimum", True, "a number"),
                                      ("exclusiveMinimum", True, "draft 4"), ("required", True, "a list of names"),
                                      ("enum", "a", "a list"), ("minLength", -1, "a whole number"),
                                      ("additionalProperties", "no", "true or false"), ("items", [{}], "a schema"),
                                      ("x-apply", "Hot", '"hot"'), ("x-secret", "yes", "true or false"),
                                      ("pattern", "(", "regular expression"), ("multipleOf", 0, "above 0"),
                                      ("properties", [], "names each field"), ("anyOf", {}, "a list of schemas")):
            said = self.said(with_field(**{keyword: value}))
            self.assertIn(f"`{keyword}` of `/risk`", said)
            self.assertIn(right, said, keyword)

    def test_a_mistake_in_the_depth_has_its_place(self):
        inner = {"type": "object", "properties": {"size": {"type": "float"}}}
        schema = {"properties": {"targets": {"type": "array", "items": inner}, "more": {"anyOf": [inner]},
                                 "other": {"$ref": "#/$defs/one"}}, "$defs": {"one": inner}}
        said = self.said(schema)
        for at in ("/targets/items/size", "/more/anyOf/0/size", "/$defs/one/size"):
            self.assertIn(f"`type` of `{at}`", said)
        self.assertIn("`$ref` of `/a`", self.said({"properties": {"a": {"$ref": "#/$defs/none"}}}))

    def test_what_is_a_value_or_a_name_is_no_keyword(self):
        schema = {"properties": {"type": {"type": "string"}, "min": {"type": "number", "x-own": {"type": "float"}},
                                 "o": {"default": {"type": "float", "pattern": "("}, "enum": [{"type": "float"}],
                                       "examples": [{"min": 1}], "const": {"choices": 1}}}}
        self.make().config(schema, {"type": "a"})

    def test_many_mistakes_are_counted(self):
        said = self.said({"properties": {f"f{number}": {"type": "float"} for number in range(9)}})
        self.assertIn("and 4 more", said)

    def test_values_of_the_program_that_do_not_fit_are_told_as_such(self):
        said = self.said(SCHEMA, {**VALUES, "risk": 9, "interval": "x"})
        self.assertIn("the config that the program gives", said)
        self.assertIn("/risk: the value must be at most", said)
        self.assertIn("/interval: expected integer", said)

    def test_schemas_that_work_are_taken(self):
        ConfigSchema(json.loads(TEMPLATE.read_text()))
        ConfigSchema(SCHEMA)

    def test_a_document_of_many_items_or_reasons_costs_little(self):
        items = {"type": "array", "uniqueItems": True, "items": {"type": "string"}}
        schema = ConfigSchema({"properties": {"all": items, "few": {**items, "maxItems": 5},
                                              "text": {"type": "string", "maxLength": 10, "pattern": "^(a+)+$"}}})
        # Each with each, these would be 5,000,000,000 comparisons; a pattern on such a text would not end.
        many = [f"item {number}" for number in range(100_000)]
        self.assertEqual(schema.violations({"all": many, "text": "aaa"}), [])
        self.assertEqual([one["code"] for one in schema.violations({"all": [*many, "item 7"]})], ["repeated"])
        self.assertEqual([one["code"] for one in schema.violations({"few": many})], ["wrong_length"])
        self.assertEqual([one["code"] for one in schema.violations({"text": "a" * 100 + "b"})], ["wrong_length"])
        self.assertEqual(len(schema.violations({"all": list(range(100_000))})), 100)
        same = ConfigSchema({"properties": {"all": {"uniqueItems": True}}})
        for pair in ([1, True], [{"a": 1}, {"a": True}], [[1], ["1"]], [None, False, 0, ""]):
            self.assertEqual(same.violations({"all": pair}), [], str(pair))
        for pair in ([1, 1.0], [{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], [None, None]):
            self.assertEqual(len(same.violations({"all": pair})), 1, str(pair))
