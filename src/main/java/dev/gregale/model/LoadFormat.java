package dev.gregale.model;

/** How a model directory is to be read. */
public enum LoadFormat {
  /** Whichever layout the tensors' names show. */
  AUTO,
  /** Hugging Face layout, or a failure. */
  HF,
  /** TransformerEngine layout, or a failure. */
  TE,
  /** Random weights in the shape that config.json gives. */
  DUMMY
}
