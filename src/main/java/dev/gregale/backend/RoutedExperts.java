package dev.gregale.backend;

/** What is left of {@link Kernels#expertBlock} once each row has its experts. */
public final class RoutedExperts {

  private RoutedExperts() {}

  /**
   * out += experts(hidden) of the rows that {@code scratch} has normalised and routed.
   *
   * @param ops of the device that the arrays are on
   * @param out fp32 {@code [T, D]}: the residual itself, or zeros
   */
  public static void launch(
      Kernels ops,
      Tensor out,
      Tensor residual,
      ExpertWeights weights,
      int tokens,
      BlockScratch scratch) {
    ExpertRouting routing = scratch.routing();
    if (!weights.hasAllExperts()) {
      Tensor own = scratch.localIds();
      int first = weights.firstExpert();
      ops.dispatch(own, routing.expertIds(), first, weights.numExperts(), tokens);
      routing = new ExpertRouting(own, routing.expertWeights());
    }
    Tensor update = out == residual ? scratch.update() : out;
    ops.expertFeedForward(
        update, scratch.hidden(), routing, weights.gateUp(), weights.down(), tokens); // [T, D]
    if (out == residual) {
      ops.add(residual, update, tokens);
    }
  }
}
