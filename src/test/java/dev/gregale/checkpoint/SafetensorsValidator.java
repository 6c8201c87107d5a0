package dev.gregale.checkpoint;

import dev.gregale.tensor.DType;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.TreeMap;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A second opinion on files that the reader accepts. */
final class SafetensorsValidator {
  private static final JsonMapper TREE = new JsonMapper();

  private SafetensorsValidator() {}

  /**
   * What is wrong with an accepted file, by other means than the reader's: the JSON as a tree, and
   * unbounded integers. Empty if nothing.
   */
  static String problem(SafetensorsHeader header, byte[] file) {
    BigInteger length = new BigInteger(1, reversed(Arrays.copyOf(file, 8)));
    if (length.compareTo(BigInteger.valueOf(file.length - 8)) > 0) {
      return "header beyond the file";
    }
    JsonNode tree;
    try {
      tree = TREE.readTree(file, 8, length.intValueExact());
    } catch (JacksonException e) {
      return "no JSON: " + e.getMessage();
    }
    long names = tree.propertyNames().stream().filter(n -> !n.equals("__metadata__")).count();
    if (names != header.tensors().size()) {
      return "names " + tree.propertyNames() + ", read " + header.tensors().keySet();
    }
    int[] owners = new int[file.length];
    var seen = new TreeMap<>(header.tensors());
    for (TensorInfo info : seen.values()) {
      JsonNode entry = tree.get(info.name());
      String wrong = problem(info, entry, length.intValueExact() + 8, owners);
      if (!wrong.isEmpty()) {
        return info + ": " + wrong;
      }
    }
    for (int i = length.intValueExact() + 8; i < file.length; i++) {
      if (owners[i] != 1) {
        return "byte %d belongs to %d tensors".formatted(i, owners[i]);
      }
    }
    return "";
  }

  private static String problem(TensorInfo info, JsonNode entry, int dataStart, int[] owners) {
    BigInteger bytes = BigInteger.valueOf(DType.valueOf(entry.get("dtype").stringValue()).bytes());
    for (JsonNode dim : entry.get("shape")) {
      if (dim.bigIntegerValue().signum() < 0) {
        return "negative length";
      }
      bytes = bytes.multiply(dim.bigIntegerValue());
    }
    BigInteger begin = entry.get("data_offsets").get(0).bigIntegerValue();
    BigInteger end = entry.get("data_offsets").get(1).bigIntegerValue();
    if (!end.subtract(begin).equals(bytes)
        || !BigInteger.valueOf(info.bytes()).equals(bytes)
        || !BigInteger.valueOf(info.offset() - dataStart).equals(begin)) {
      return "entry " + entry;
    }
    for (long i = info.offset(); i < info.offset() + info.bytes(); i++) {
      if (i >= owners.length) {
        return "beyond the file";
      }
      owners[(int) i]++;
    }
    return "";
  }

  private static byte[] reversed(byte[] bytes) {
    byte[] reversed = new byte[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      reversed[i] = bytes[bytes.length - 1 - i];
    }
    return reversed;
  }
}
