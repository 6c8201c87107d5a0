package dev.gregale.structured;

/** A schema that cannot be served. The message says where and why. */
public final class SchemaException extends IllegalArgumentException {

  SchemaException(String message) {
    super(message);
  }

  /**
   * @param path of the schema at fault within the whole, as in {@code "properties.age"}; empty for
   *     the whole
   */
  static SchemaException at(String path, String problem) {
    return new SchemaException(
        (path.isEmpty() ? "the schema" : "the schema at " + path) + " " + problem);
  }
}
