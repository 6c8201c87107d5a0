package dev.gregale.convert;

import java.math.BigDecimal;
import java.math.MathContext;
import java.util.Iterator;
import java.util.Map;
import java.util.TreeMap;
import tools.jackson.databind.JsonNode;

/**
 * JSON exactly as Python's {@code json.dumps(value, indent=2, sort_keys=True)} writes it, with a
 * line end: how transformers writes its configurations and indices.
 */
final class PythonJson {
  private final StringBuilder out = new StringBuilder();

  private PythonJson() {}

  static String write(JsonNode value) {
    PythonJson json = new PythonJson();
    json.write(value, "\n");
    return json.out.append('\n').toString();
  }

  private void write(JsonNode value, String indent) {
    switch (value.getNodeType()) {
      case OBJECT -> object(value, indent);
      case ARRAY -> array(value, indent);
      case STRING -> string(value.stringValue());
      case NUMBER ->
          out.append(
              value.isIntegralNumber()
                  ? value.bigIntegerValue().toString()
                  : number(value.doubleValue()));
      default -> out.append(value); // true, false, null
    }
  }

  private void object(JsonNode object, String indent) {
    Map<String, JsonNode> sorted = new TreeMap<>();
    object.properties().forEach(entry -> sorted.put(entry.getKey(), entry.getValue()));
    Iterator<Map.Entry<String, JsonNode>> entries = sorted.entrySet().iterator();
    out.append('{');
    while (entries.hasNext()) {
      Map.Entry<String, JsonNode> entry = entries.next();
      out.append(indent).append("  ");
      string(entry.getKey());
      out.append(": ");
      write(entry.getValue(), indent + "  ");
      out.append(entries.hasNext() ? "," : indent);
    }
    out.append('}');
  }

  private void array(JsonNode array, String indent) {
    Iterator<JsonNode> elements = array.iterator();
    out.append('[');
    while (elements.hasNext()) {
      out.append(indent).append("  ");
      write(elements.next(), indent + "  ");
      out.append(elements.hasNext() ? "," : indent);
    }
    out.append(']');
  }

  private void string(String text) {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        case '\f' -> out.append("\\f");
        case '\b' -> out.append("\\b");
        default -> out.append(c >= ' ' && c <= '~' ? String.valueOf(c) : escape(c));
      }
    }
    out.append('"');
  }

  private static String escape(char c) {
    return "\\u%04x".formatted((int) c);
  }

  /** Python's {@code repr}: the shortest digits that give the number back. */
  static String number(double value) {
    if (value == 0) {
      return 1 / value < 0 ? "-0.0" : "0.0";
    }
    BigDecimal shortest = new BigDecimal(Double.toString(value)).stripTrailingZeros();
    BigDecimal one = new BigDecimal(value).round(new MathContext(1)); // Java writes at least two
    if (one.doubleValue() == value) {
      shortest = one.stripTrailingZeros();
    }
    String digits = shortest.unscaledValue().abs().toString();
    int point = digits.length() - shortest.scale(); // of 0.DIGITS times ten to it
    String sign = value < 0 ? "-" : "";
    if (point > 16 || point < -3) {
      String fraction = digits.length() > 1 ? "." + digits.substring(1) : "";
      String exponent = "%s%02d".formatted(point > 0 ? "+" : "-", Math.abs(point - 1));
      return sign + digits.charAt(0) + fraction + "e" + exponent;
    }
    String plain = shortest.abs().toPlainString();
    return sign + plain + (plain.contains(".") ? "" : ".0");
  }
}
