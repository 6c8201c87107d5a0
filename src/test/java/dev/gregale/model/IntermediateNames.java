package dev.gregale.model;

/** Gives each op of the forward pass the name that its result has in the golden files. */
final class IntermediateNames {
  private final int numLayers;
  private int layer;
  private int matmuls;
  private int norms;
  private int sums;

  IntermediateNames(int numLayers) {
    this.numLayers = numLayers;
  }

  /** To be called for every recorded result, in order. */
  String next(String op) {
    String prefix = "layer" + layer + ".";
    return switch (op) {
      case "embed" -> "embed";
      case "rmsNorm" -> norm(prefix);
      case "matmul" ->
          switch (matmuls++ % 3) {
            case 0 -> prefix + "qkv"; // rotated in place later; not among the golden values
            case 1 -> prefix + "attn_out";
            default -> prefix + "router_logits";
          };
      case "routeTopK" -> prefix;
      case "expertFeedForward" -> prefix + "moe_out";
      case "add" -> sum(prefix);
      default -> throw new IllegalArgumentException(op);
    };
  }

  private String norm(String prefix) {
    if (layer == numLayers) {
      return "final_norm";
    }
    return prefix + (norms++ % 2 == 0 ? "input_layernorm" : "post_attention_layernorm");
  }

  private String sum(String prefix) {
    if (sums++ % 2 == 0) {
      return prefix + "after_attention";
    }
    layer++;
    return prefix + "out";
  }
}
