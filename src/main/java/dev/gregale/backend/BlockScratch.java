package dev.gregale.backend;

/**
 * The arrays between the ops of a block. What is in them before and after a block is nobody's
 * business, but for the routing, which {@link Kernels#expertBlock} leaves behind.
 *
 * @param hidden {@code [T, D]}: what goes into a block, normalised
 * @param update fp32 {@code [T, D]}: what comes out of a block, to be added to the residual;
 *     rounded to nothing less, since what is lost here stays lost
 * @param qkv {@code [T, (H + 2G) d]}
 * @param context {@code [T, H d]}: what attention gathered
 * @param routerLogits fp32 {@code [T, E]}
 * @param routing ids and weights {@code [T, K]}
 * @param localIds int32 {@code [T, K]}: the routing's ids as {@link Kernels#dispatch} counts them
 * @param lastHidden {@code [R, D]}: the rows whose logits are wanted
 */
public record BlockScratch(
    Tensor hidden,
    Tensor update,
    Tensor qkv,
    Tensor context,
    Tensor routerLogits,
    ExpertRouting routing,
    Tensor localIds,
    Tensor lastHidden) {}
