package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.json.JsonMapper;

class PythonJsonTest {

  /** Left what was read, right Python's repr of it. */
  @ParameterizedTest
  @CsvSource({
    "1e-05, 1e-05",
    "0.0001, 0.0001",
    "1e6, 1000000.0",
    "1e15, 1000000000000000.0",
    "9007199254740993e0, 9007199254740992.0",
    "1e16, 1e+16",
    "1.5e300, 1.5e+300",
    "0.1, 0.1",
    "-2.5e-10, -2.5e-10",
    "123456.789, 123456.789",
    "5e-324, 5e-324",
    "0.0, 0.0",
    "-0.0, -0.0",
  })
  void numbersAsPythonWritesThem(String read, String written) {
    assertThat(PythonJson.number(Double.parseDouble(read))).isEqualTo(written);
  }

  @Test
  void textIsSortedIndentedAndAscii() {
    String json = "{\"b\":[],\"a\":[1,{}],\"c\":\"\\\"\\\\é\\u007f\\n\\u0001/😀\",\"d\":null}";
    assertThat(PythonJson.write(JsonMapper.shared().readTree(json)))
        .isEqualTo(
            """
            {
              "a": [
                1,
                {}
              ],
              "b": [],
              "c": "\\"\\\\\\u00e9\\u007f\\n\\u0001/\\ud83d\\ude00",
              "d": null
            }
            """);
  }
}
