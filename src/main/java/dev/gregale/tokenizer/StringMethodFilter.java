package dev.gregale.tokenizer;

import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.filter.Filter;
import org.jspecify.annotations.Nullable;

/** A Jinja2 filter which is Python's string method, in place of jinjava's own by that name. */
final class StringMethodFilter implements Filter {

  private final String name;
  private final String method;
  private final PythonStrings strings;

  /**
   * @param name of the filter
   * @param method of {@code str} that it calls
   */
  StringMethodFilter(String name, String method, PythonStrings strings) {
    this.name = name;
    this.method = method;
    this.strings = strings;
  }

  @Override
  public String getName() {
    return name;
  }

  @Override
  public @Nullable Object filter(
      @Nullable Object value, JinjavaInterpreter interpreter, @Nullable String... arguments) {
    return value == null ? null : strings.call(value.toString(), method, arguments);
  }
}
