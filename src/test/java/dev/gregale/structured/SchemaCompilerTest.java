package dev.gregale.structured;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gregale.sampling.TokenConstraint;
import dev.gregale.sampling.TokenMatcher;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.json.JsonMapper;

/** What schemas are refused, and what single texts they allow. */
class SchemaCompilerTest {

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          {'minimum': 3}                                  | the schema has the keyword 'minimum', which is not supported; supported are $ref,
          {'properties': {'a': {'pattern': 'x'}}}         | the schema at properties.a has the keyword 'pattern'
          {'anyOf': [{}, {'items': {'oneOf': []}}]}       | the schema at anyOf[1].items has the keyword 'oneOf'
          {'$defs': {'a': {'format': 'x'}}, '$ref': '#/$defs/a'} | at #/$defs/a has the keyword 'format'
          {'type': 'text'}                                | must have one or several of object,
          {'type': ['string', 3]}                         | must have one or several of object,
          {'type': 'array', 'items': 3}                   | at items must be an object or a boolean
          {'type': 'array', 'items': [{}]}                | at items must be an object or a boolean
          {'type': 'array', 'minItems': -1}               | must have an integer from 0 to 1000 in minItems
          {'type': 'array', 'maxItems': 1001}             | must have an integer from 0 to 1000 in maxItems
          {'type': 'array', 'minItems': 2, 'maxItems': 1} | minItems above its maxItems
          {'type': 'string', 'maxLength': 1.5}            | in maxLength
          {'type': 'string', 'minLength': 2, 'maxLength': 1} | minLength above its maxLength
          {'properties': []}                              | must have an object in properties
          {'required': 'a'}                               | must have an array of strings in required
          {'required': [1]}                               | must have an array of strings in required
          {'properties': {}, 'required': ['a']}           | requires a property that it does not have
          {'anyOf': []}                                   | must have an array of schemas in anyOf
          {'anyOf': [{}], 'type': 'string'}               | has type beside anyOf
          {'$ref': '#/$defs/a'}                           | has a $ref to what is not there
          {'$ref': 'https://example.com/a'}               | must have a reference within the schema
          {'$ref': '#'}                                   | and not to itself, in $ref
          {'$ref': '#x'}                                  | has a $ref that is no JSON pointer
          {'allOf': [{}, {}]}                             | allOf of several schemas
          {'enum': 3}                                     | must have an array in enum
          {'enum': ['a'], 'minLength': 3}                 | has minLength beside enum
          {'enum': [1e999]}                               | a number in enum that is too large
          {'enum': []}                                    | allows no value
          {'enum': ['a'], 'type': 'integer'}              | allows no value
          {'anyOf': [{'$ref': '#'}, {'type': 'null'}]}    | leads back to itself
          {'properties': {'a': {'$ref': '#'}}, 'required': ['a']} | allows no value
          {'properties': {'a': false}, 'required': ['a']} | allows no value
          """)
  void whatCannotBeServedIsRefusedByName(String schema, String message) {
    SchemaException e = assertThrows(SchemaException.class, () -> constraint(schema));
    String found = String.valueOf(e.getMessage());
    assertTrue(found.contains(message.strip()), found);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          {'type': 'integer'}                  | 0, -1, 12, -0, 123456789012345678 | 01, 1.0, +1, 1234567890123456789, -
          {'type': 'number'}                   | 0, -0.5, 1e5, 1.5E-10, 0e+0 | .5, 1., 1e, 1e100, 00, NaN
          {'type': ['integer', 'null']}        | 3, null | 3.5, true, "a"
          {'const': 'a'}                       | "a" | "b", "\\u0061", a
          {'enum': [1, 12, '1', null, [1, {'a': 2}]]} | 1, 12, "1", null, [1;{"a":2}] | 2, 123, [1]
          {'type': 'string', 'maxLength': 2}   | "", "ab", "\\n\\"", "\\u00e9\\/", "\ud83e\udd81x" | "abc", "\\x", "\\ud83e", a
          {'type': 'string', 'minLength': 2}   | "ab", "abc" | "", "a", "\\n"
          {'items': {'const': 1}, 'maxItems': 2} | [], [1], [1;1], [ 1 ;1 ] | [1;1;1], [1;], [;1], [2]
          {'items': {'const': 1}, 'minItems': 2} | [1;1], [1;1;1;1] | [], [1]
          {'items': false}                     | [], [ ] | [1], [null]
          {'properties': {'a': {'const': 1}, 'b': {'const': 2}}, 'required': ['b']} | {"a":1;"b":2}, {"b":2}, { "b" : 2 } | {}, {"a":1}, {"b":2;"a":1}, {"b":2;"c":3}, {"b":2;}
          {'properties': {'a': {'const': 1}}, 'additionalProperties': {'const': 2}} | {}, {"a":1}, {"b":2}, {"a":1;"aa":2;"":2} | {"a":2}, {"b":2;"a":1}, {"b":1}, {"\\u0061":2}
          {'type': 'object', 'required': ['x']} | {"x":null}, {"x":1;"y":{}} | {}, {"y":1}
          {'properties': {'a': false}, 'additionalProperties': true} | {}, {"b":1} | {"a":1}
          {'anyOf': [{'const': 1}, {'type': 'array', 'items': {'$ref': '#'}}]} | 1, [], [1;[1;[]]] | 2, [2]
          true                                 | 1, "a", [{}], {"a":[null]} | a, [, {1}
          {'allOf': [{'$ref': '#/$defs/a%20b'}], '$defs': {'a b': {'const': 7}}} | 7 | 8
          """)
  void textsOfASchema(String schema, String allowed, String refused) {
    TokenConstraint constraint = constraint(schema);
    for (String text : allowed.strip().split(", ")) {
      assertTrue(matches(constraint, text.replace(';', ',')), schema + " " + text);
    }
    for (String text : refused.strip().split(", ")) {
      assertFalse(matches(constraint, text.replace(';', ',')), schema + " " + text);
    }
  }

  @Test
  void nestingEndsAtItsLimit() {
    TokenConstraint any = DemoVocabulary.OUTPUTS.jsonObject();
    int inner = Limits.NESTING - 1;
    assertTrue(matches(any, "{\"a\":" + "[".repeat(inner) + "]".repeat(inner) + "}"));
    TokenMatcher matcher = any.newMatcher();
    assertFalse(begins(matcher, "{\"a\":" + "[".repeat(inner + 1)));
    TokenConstraint tree =
        constraint(
            "{'properties': {'next': {'anyOf': [{'$ref': '#'}, {'const': 0}]}}, 'required': ['next']}");
    String deepest = "{\"next\":".repeat(Limits.NESTING) + "0" + "}".repeat(Limits.NESTING);
    assertTrue(matches(tree, deepest));
    assertFalse(begins(tree.newMatcher(), "{\"next\":".repeat(Limits.NESTING) + "{"));
  }

  @Test
  void whitespaceEndsAtItsLimit() {
    TokenConstraint any = DemoVocabulary.OUTPUTS.jsonObject();
    String most = " ".repeat(Limits.WHITESPACE);
    assertTrue(matches(any, most + "{" + most + "}"));
    assertTrue(matches(any, "\n" + most.substring(1) + "{\n}"));
    assertFalse(begins(any.newMatcher(), "{" + most + " "));
    assertFalse(begins(any.newMatcher(), "{\n\n"));
    assertFalse(begins(any.newMatcher(), "{ \n"));
    assertFalse(begins(any.newMatcher(), most + " "));
    assertFalse(begins(any.newMatcher(), "{} "));
  }

  @Test
  void whatIsTooLargeIsRefused() {
    StringBuilder wide = new StringBuilder("{'properties': {");
    for (int i = 0; i < Limits.PROPERTIES; i++) {
      wide.append("'p").append(i).append("': {}, ");
    }
    String tooWide = wide.append("'z': {}}}").toString();
    assertTrue(refusal(tooWide).contains("more than 256 properties"));
    String tooLong = "{'description': '" + "x".repeat(Limits.SCHEMA_CHARS) + "'}";
    assertTrue(refusal(tooLong).contains("characters, more than"));
    String tooMany = "{'maxItems': 1000, 'items': ".repeat(20) + "{}" + "}".repeat(20);
    assertTrue(refusal(tooMany).contains("more than 20000 states"));
  }

  private static String refusal(String schema) {
    SchemaException e = assertThrows(SchemaException.class, () -> constraint(schema));
    return String.valueOf(e.getMessage());
  }

  @Test
  void theSameSchemaIsCompiledOnce() {
    assertEquals(constraint("{'type': 'array'}"), constraint("{'type': 'array'}"));
  }

  private static TokenConstraint constraint(String schema) {
    return DemoVocabulary.OUTPUTS.jsonSchema(
        JsonMapper.shared().readTree(schema.replace('\'', '"')));
  }

  private static boolean matches(TokenConstraint constraint, String text) {
    TokenMatcher matcher = constraint.newMatcher();
    return begins(matcher, text) && matcher.allows(DemoVocabulary.EOS);
  }

  private static boolean begins(TokenMatcher matcher, String text) {
    for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
      int token = DemoVocabulary.FIRST_BYTE + (b & 0xFF);
      if (!matcher.allows(token)) {
        return false;
      }
      matcher.accept(token);
    }
    return true;
  }
}
