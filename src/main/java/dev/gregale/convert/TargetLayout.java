package dev.gregale.convert;

import dev.gregale.checkpoint.CheckpointLayout;

/** Layouts that are written, under the names that users give. */
public enum TargetLayout {
  HF(CheckpointLayout.HUGGING_FACE),
  TE(CheckpointLayout.TRANSFORMER_ENGINE);

  private final CheckpointLayout layout;

  TargetLayout(CheckpointLayout layout) {
    this.layout = layout;
  }

  public CheckpointLayout layout() {
    return layout;
  }
}
