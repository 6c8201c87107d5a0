package dev.gregale.structured;

/** What keeps schemas, texts and the work on them bounded. */
final class Limits {
  /** Characters of a schema as JSON. */
  static final int SCHEMA_CHARS = 64 << 10;

  /** States of a compiled schema. */
  static final int GRAMMAR_STATES = 20_000;

  /** Properties of one object. */
  static final int PROPERTIES = 256;

  /** What minItems and maxItems may be. */
  static final int ITEMS = 1000;

  /** What minLength and maxLength may be. */
  static final int STRING_LENGTH = 100_000;

  /** Objects and arrays within each other. */
  static final int NESTING = 32;

  /**
   * Blanks and tabs in a row; the first may be a line end instead. Any number is JSON, but models
   * fall into endless whitespace where they do not know what to say.
   */
  static final int WHITESPACE = 16;

  /** Digits of an integer, and of a fraction; so that no reader of JSON finds a number too long. */
  static final int DIGITS = 18;

  /** Digits of an exponent. */
  static final int EXPONENT_DIGITS = 2;

  /**
   * Positions in the grammar that are followed at a time, where what was written so far can be read
   * in several ways. Of more, the last ones are given up: fewer texts are then allowed, but none
   * that is wrong.
   */
  static final int POSITIONS = 320;

  /** States of one grammar's automaton that are kept. */
  static final int AUTOMATON_STATES = 512;

  /** Steps from one position by one byte that a mask may take; beyond, it is of single bytes. */
  static final int MASK_WORK = 100_000;

  /** Bytes of a token; longer ones are never drawn. */
  static final int TOKEN_BYTES = Byte.MAX_VALUE;

  private Limits() {}
}
